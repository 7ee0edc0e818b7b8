//! What is answered, and how.

use serde_json::{Value, json};

use super::house::{House, PROTOCOLS, SOON, review};

#[tokio::test]
async fn a_review_is_answered_in_its_own_version_and_by_its_uid() {
    let house = House::open(&[]).await;
    for protocol in PROTOCOLS {
        let client = house.client(protocol);
        let request = client.post(house.url("/admit?timeout=10s"));
        let answer = request.body(review("a").to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1", "{protocol}");
        assert_eq!(answer["kind"], "AdmissionReview");
        let response = &answer["response"];
        assert_eq!(response["uid"], review("a")["request"]["uid"]);
        assert_eq!(response["allowed"], true);
        let within = response["warnings"][0].as_str().unwrap();
        assert!(within.starts_with("within 9."), "{within}");
    }
}

#[tokio::test]
async fn what_is_no_review_is_refused_with_a_sentence() {
    let house = House::open(&[]).await;
    let client = house.client("http/1.1");
    let with = |change: Value| {
        let mut review = review("a");
        for (key, value) in change.as_object().unwrap() {
            review[key] = value.clone();
        }
        review.to_string()
    };
    let old = json!({ "apiVersion": "admission.k8s.io/v1beta1" });
    for (path, body, code, sentence) in [
        ("/admit", "{".to_owned(), 400, "no AdmissionReview"),
        ("/admit", String::new(), 400, "no AdmissionReview"),
        (
            "/admit",
            with(old),
            400,
            "v1beta1: expected AdmissionReview",
        ),
        (
            "/admit",
            with(json!({ "kind": "Review" })),
            400,
            "Review of",
        ),
        (
            "/admit",
            with(json!({ "request": null })),
            400,
            "no request",
        ),
        (
            "/admit?timeout=x",
            with(json!({})),
            400,
            "timeout=x: expected",
        ),
        ("/admit", " ".repeat((3 << 20) + 1), 413, "larger than"),
        ("/", with(json!({})), 404, "POST /admit"),
        ("/admit/", with(json!({})), 404, "POST /admit"),
    ] {
        let sent = client.post(house.url(path)).body(body).send().await;
        let sent = sent.unwrap();
        assert_eq!(sent.status(), code, "{path} {sentence}");
        let said = sent.text().await.unwrap();
        assert!(said.contains(sentence), "{said}");
    }
    let got = client.get(house.url("/admit")).send().await.unwrap();
    assert_eq!(got.status(), 404);
    let large = with(json!({ "padding": "x".repeat(2 << 20) }));
    let sent = client.post(house.url("/admit")).body(large).send().await;
    assert_eq!(
        sent.unwrap().status(),
        200,
        "what an API server stores fits"
    );
    assert_eq!(house.stub.begun.available_permits(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_review() {
    let house = House::open(&[]).await;
    for protocol in PROTOCOLS {
        let client = house.client(protocol);
        let request = client.post(house.url("/admit?timeout=30s"));
        let request = request.body(review("hang").to_string());
        let asking = tokio::spawn(request.send());
        house.stub.until_begun().await;
        asking.abort();
        house.stub.until_dropped().await;
        // Not only what it asked: its connection.
        let client = house.client(protocol);
        let request = client.post(house.url("/admit?timeout=30s"));
        let asking = tokio::spawn(request.body(review("hang").to_string()).send());
        house.stub.until_begun().await;
        drop(client);
        asking.abort();
        house.stub.until_dropped().await;
    }
}

#[tokio::test]
async fn a_review_ends_when_the_api_server_has_given_up() {
    let house = House::open(&[]).await;
    let request = house.client("h2").post(house.url("/admit?timeout=1s"));
    let answer = request.body(review("hang").to_string()).send();
    let answer = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 504);
    house.stub.until_dropped().await;
}

#[tokio::test]
async fn probes_tell_what_does_not_hold() {
    let house = House::open(&[]).await;
    assert_eq!(house.probe("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(house.probe("/readyz").await.0, 200);
    house
        .readiness
        .require("watch", || Err("not listed".to_owned()));
    assert_eq!(
        house.probe("/readyz").await,
        (503, "watch: not listed\n".to_owned())
    );
    assert_eq!(house.probe("/healthz").await.0, 200);
    assert_eq!(house.probe("/admit").await.0, 404);
    assert_eq!(
        house.probe("/metrics").await,
        (200, "asked 1\n# EOF\n".to_owned())
    );
}

#[tokio::test]
async fn at_the_end_what_is_being_answered_is_answered_and_nobody_comes_in() {
    let mut house = House::open(&[]).await;
    let request = house
        .client("http/1.1")
        .post(house.url("/admit?timeout=2s"));
    let asking = tokio::spawn(request.body(review("hang").to_string()).send());
    house.stub.until_begun().await;
    house.close.take().unwrap().send(()).unwrap();
    let answer = tokio::time::timeout(SOON, asking).await.unwrap().unwrap();
    assert_eq!(answer.unwrap().status(), 504);
    let House {
        served, address, ..
    } = house;
    tokio::time::timeout(SOON, served).await.unwrap().unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap_err();
}
