//! Who is let in, and who is not.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::{Stage, TOKEN, alarm, answer};
use crate::alarm::Happening;

const LOCKED: [&str; 9] = [
    "/",
    "/alarms.html",
    "/metrics",
    "/api/v1/points",
    "/api/v1/points/mine.t1",
    "/api/v1/points/mine.t1/samples",
    "/api/v1/alarms",
    "/api/v1/events",
    "/api/v1/nothing",
];

/// Signs in as the page's form does; the cookie's name and value.
async fn sign_in(stage: &Stage) -> String {
    let form = format!("token={TOKEN}");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let answer = stage.post("/login?lang=en").header(kind.0, kind.1).body(form).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (303, &"/?lang=en".parse().unwrap()));
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("horse"), "the token is not in the cookie");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn with_a_token_nothing_is_told_without_it() {
    let stage = Stage::locked().await;
    for path in LOCKED {
        let status = |authorization: Option<String>| {
            let mut request = stage.get(path);
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            async { request.send().await.unwrap().status().as_u16() }
        };
        let shut = if path == "/" { 303 } else { 401 };
        let found = if path == "/api/v1/nothing" { 404 } else { 200 };
        assert_eq!(status(None).await, shut, "{path}");
        for wrong in ["Bearer wrong-horse-battery", "Bearer ", "Bearer", "", &format!("Basic {TOKEN}"), TOKEN] {
            assert_eq!(status(Some(wrong.into())).await, shut, "{path} {wrong:?}");
        }
        assert_eq!(status(Some(format!("Bearer {}", &TOKEN[1..]))).await, shut);
        assert_eq!(status(Some(format!("Bearer {TOKEN}"))).await, found, "{path}");
        assert_eq!(status(Some(format!("bearer {TOKEN}"))).await, found, "{path}");
    }
    for path in ["/livez", "/readyz", "/login", "/page.css", "/page.js", "/page.svg"] {
        assert_eq!(stage.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    assert!(stage.refused() > 0, "refusals are counted");
    let answer = stage.get("/api/v1/points").send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    stage.close().await;
}

#[tokio::test]
async fn an_operator_signs_in_works_and_signs_out() {
    let stage = Stage::locked().await;
    let wrong = stage.post("/login").header("content-type", "application/x-www-form-urlencoded").body("token=guess");
    let wrong = wrong.send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), wrong.headers().get("set-cookie")), (401, None));
    assert!(wrong.text().await.unwrap().contains("令牌不正确"));

    let cookie = sign_in(&stage).await;
    let with = |request: reqwest::RequestBuilder| request.header("cookie", format!("other=1; {cookie}"));
    assert_eq!(with(stage.get("/")).send().await.unwrap().status(), 200);
    assert_eq!(with(stage.get("/api/v1/points")).send().await.unwrap().status(), 200);
    // A wrong token is not made good by a cookie.
    let both = with(stage.get("/api/v1/points")).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(both.status(), 401);

    let out = with(stage.post("/logout")).header("x-davy", "page").send().await.unwrap();
    assert_eq!(out.status(), 303);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(with(stage.get("/api/v1/points")).send().await.unwrap().status(), 401, "the old cookie is dead");
    stage.close().await;
}

#[tokio::test]
async fn a_foreign_page_cannot_acknowledge_with_the_operators_cookie() {
    let stage = Stage::locked().await;
    let raised = alarm(1, "methane");
    stage.backstage.happens(Happening::Raised, raised.clone());
    let cookie = sign_in(&stage).await;
    let own = format!("http://{}", stage.address);
    let ack = |headers: &[(&str, &str)]| {
        let path = format!("/api/v1/alarms/{}/ack", raised.id);
        let request = stage.post(&path).header("cookie", &cookie).json(&json!({ "raises": 1, "by": "wang" }));
        answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    };
    let upper = own.replace("http://", "https://evil.example/");
    for headers in [
        &[][..],
        &[("origin", "http://evil.example")],
        &[("origin", "null"), ("x-davy", "page")],
        &[("origin", &upper), ("x-davy", "page")],
        &[("origin", "http://127.0.0.1:1"), ("x-davy", "page")],
        &[("sec-fetch-site", "cross-site"), ("x-davy", "page")],
        &[("sec-fetch-site", "same-site"), ("origin", &own)],
    ] {
        let (status, told) = ack(headers).await;
        assert_eq!((status, &told["error"]["code"]), (403, &json!("cross_site")), "{headers:?}");
    }
    assert!(stage.backstage.entries.lock().unwrap().is_empty());
    let (status, _) = ack(&[("origin", &own), ("sec-fetch-site", "same-origin"), ("x-davy", "page")]).await;
    assert_eq!(status, 200);
    stage.close().await;
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_served() {
    let stage = Stage::open().await;
    let raised = alarm(1, "methane");
    stage.backstage.happens(Happening::Raised, raised.clone());
    for (host, expected) in [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ] {
        for path in ["/", "/api/v1/points", "/livez", "/page.js"] {
            let answer = stage.get(path).header("host", host).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), expected, "{host} {path}");
        }
    }
    let path = format!("/api/v1/alarms/{}/ack", raised.id);
    let said = json!({ "raises": 1, "by": "wang" });
    for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let (status, told) = answer(stage.post(&path).header(name, value).json(&said)).await;
        assert_eq!((status, &told["error"]["code"]), (403, &json!("cross_site")));
    }
    // A form of a foreign page that says nothing of its origin still cannot say that it is JSON.
    let form = stage.post(&path).header("content-type", "text/plain").body(said.to_string());
    assert_eq!(answer(form).await.0, 415);
    assert!(stage.backstage.entries.lock().unwrap().is_empty());
    assert_eq!(answer(stage.post(&path).json(&said)).await.0, 200, "a program on this machine may");
    stage.close().await;
}

#[tokio::test]
async fn every_answer_keeps_its_promises_to_the_browser() {
    let stage = Stage::locked().await;
    for path in ["/", "/login", "/api/v1/points", "/livez", "/nowhere", "/page.js"] {
        let answer = stage.get(path).send().await.unwrap();
        let header =
            |name: &str| answer.headers().get(name).unwrap_or_else(|| panic!("{path} {name}")).to_str().unwrap();
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), if path == "/page.js" { "no-cache" } else { "no-store" }, "{path}");
    }
    let answer = stage.get("/page.css").send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    let again = stage.get("/page.css").header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag));
    assert_eq!(stage.get("/page.css").header("if-none-match", "\"old\"").send().await.unwrap().status(), 200);
    stage.close().await;
}

/// All that comes back on a bare connection until it is closed.
async fn raw(stage: &Stage, request: &str) -> String {
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut told));
    drop(read.await.expect("the connection is closed within its time"));
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn doubled_and_contradicting_hosts_are_not_guessed_at() {
    let stage = Stage::open().await;
    for request in [
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /livez HTTP/1.0\r\n\r\n",
    ] {
        let told = raw(&stage, request).await;
        assert!(told.starts_with("HTTP/1.1 421") || told.starts_with("HTTP/1.0 421"), "{request:?}: {told}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_peer_that_never_finishes_its_headers_is_let_go() {
    let stage = Stage::open().await;
    let (silent, dawdling) = tokio::join!(raw(&stage, ""), raw(&stage, "GET /livez HTTP/1.1\r\nHost: local"));
    assert!(!silent.contains("200 OK") && !dawdling.contains("200 OK"));
    assert_eq!(stage.asks("/livez").await.0, 200);
    stage.close().await;
}
