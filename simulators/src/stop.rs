//! The one way in which everything here is told to end.

use tokio::sync::watch;

/// Returns when the flag is set, or when nobody is left to set it.
pub(crate) async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stop| *stop).await.is_err() {
        tracing::trace!("whoever started this is gone");
    }
}
