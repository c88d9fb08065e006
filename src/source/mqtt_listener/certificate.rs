//! Whom a client certificate names: the common name (CN) of its subject.
//!
//! In comes a certificate in DER that rustls has already verified against the trusted authority; out comes
//! its one CN, or nothing when there is none, more than one, or one in a character set of the last century.
//! Read by hand: five nested lengths (RFC 5280, section 4.1) against a dozen crates of an X.509 library.
//! Never: a panic, whatever the bytes.

/// 2.5.4.3, id-at-commonName.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const OID: u8 = 0x06;
    pub const UTF8: u8 = 0x0C;
    pub const PRINTABLE: u8 = 0x13;
    pub const IA5: u8 = 0x16;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    pub const VERSION: u8 = 0xA0;
}

pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let mut certificate = Der(Der(certificate).expect(tag::SEQUENCE)?);
    let mut to_be_signed = Der(certificate.expect(tag::SEQUENCE)?);
    if to_be_signed.peek() == Some(tag::VERSION) {
        to_be_signed.expect(tag::VERSION)?;
    }
    to_be_signed.expect(tag::INTEGER)?;
    let [_algorithm, _issuer, _validity] = [0; 3].map(|_| to_be_signed.expect(tag::SEQUENCE));
    let mut subject = Der(to_be_signed.expect(tag::SEQUENCE)?);
    let mut found = None;
    while subject.peek().is_some() {
        let mut names = Der(subject.expect(tag::SET)?);
        while names.peek().is_some() {
            let mut name = Der(names.expect(tag::SEQUENCE)?);
            if name.expect(tag::OID)? != COMMON_NAME {
                continue;
            }
            let (kind, text) = name.next()?;
            let readable = matches!(kind, tag::UTF8 | tag::PRINTABLE | tag::IA5);
            let text = std::str::from_utf8(text).ok().filter(|_| readable)?;
            if found.replace(text.to_owned()).is_some() {
                return None;
            }
        }
    }
    found.filter(|name| !name.is_empty() && !name.contains(char::is_control))
}

/// Elements one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which must be of this kind.
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().and_then(|(kind, content)| (kind == wanted).then_some(content))
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            // Three bytes of length are 16 MB; rustls takes no certificate of that size.
            let (bytes, after) = rest.split_at_checked(length & 0x7F).filter(|(bytes, _)| bytes.len() <= 3)?;
            length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((*kind, content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut whole = if length < 0x80 { vec![kind, length as u8] } else { vec![kind, 0x81, length as u8] };
        whole.extend(content);
        whole
    }

    /// A certificate as far as its subject, with these CNs.
    fn named(names: &[(u8, &str)]) -> Vec<u8> {
        let organisation =
            element(tag::SEQUENCE, &[element(tag::OID, &[0x55, 4, 10]), element(tag::UTF8, b"mine")].concat());
        let mut subject = element(tag::SET, &organisation);
        for (kind, name) in names {
            let pair = [element(tag::OID, COMMON_NAME), element(*kind, name.as_bytes())].concat();
            subject.extend(element(tag::SET, &element(tag::SEQUENCE, &pair)));
        }
        let body = [
            element(tag::VERSION, &[2, 1, 2]),
            element(tag::INTEGER, &[1]),
            element(tag::SEQUENCE, &[]),
            element(tag::SEQUENCE, &[]),
            element(tag::SEQUENCE, &[]),
            element(tag::SEQUENCE, &subject),
        ];
        element(tag::SEQUENCE, &element(tag::SEQUENCE, &body.concat()))
    }

    #[test]
    fn a_certificate_names_one_client_or_none() {
        let name = |names: &[(u8, &str)]| common_name(&named(names));
        assert_eq!(name(&[(tag::UTF8, "face-3201")]).as_deref(), Some("face-3201"));
        assert_eq!(name(&[(tag::PRINTABLE, "face 3201")]).as_deref(), Some("face 3201"));
        for nobody in
            [&[][..], &[(tag::UTF8, "")], &[(tag::UTF8, "a"), (tag::UTF8, "b")], &[(0x1E, "a")], &[(tag::UTF8, "a\nb")]]
        {
            assert_eq!(name(nobody), None, "{nobody:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            prop_assert!(common_name(&bytes).is_none_or(|name| !name.is_empty()));
            let mut sound = named(&[(tag::UTF8, "face")]);
            for (place, byte) in at {
                let place = place.index(sound.len());
                sound[place] = byte;
            }
            prop_assert!(common_name(&sound).is_none_or(|name| !name.is_empty()));
        }
    }
}
