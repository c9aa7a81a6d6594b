//! A server that is given the next bundle while it runs.

use std::sync::Arc;

use loader::http::Site;
use loader::{Deployment, Loader};

use crate::app::{App, Client, Lines, id, lua, registry};
use crate::support::{Built, Registry};

/// An application whose answer and what it calls name the same version.
fn version(number: u32) -> Registry {
    let source = format!("local inner = require('funcs').call('app:inner')\nres:write('{number} ' .. inner)");
    lua(registry("", ""), "f", "GET /", &source).entries(&format!(
        "- name: inner\n  kind: function.lua\n  source: |\n    return function() return '{number}' end\n"
    ))
}

#[tokio::test]
async fn one_connection_lives_through_ten_bundles() {
    let app = App::new(version(0)).await;
    let mut client = app.client().await;
    let mut kept: Vec<Built> = Vec::new();
    for number in 0..=10 {
        if number > 0 {
            let built = version(number).build();
            let loader = Loader::open(&built).unwrap();
            let site = Site::new(&loader, &id()).unwrap();
            site.warm().unwrap();
            app.server.replace(site);
            kept.push(built);
        }
        for _ in 0..3 {
            let answer = client.ask(http::Request::get("/"), "").await;
            assert_eq!(answer.short(), (200, format!("{number} {number}").as_str()));
        }
    }
}

#[tokio::test]
async fn a_bundle_that_was_replaced_goes() {
    let service = "lifecycle: {auto_start: true}";
    let app = |text: &str| {
        let source = format!("res:write('{text}')");
        let host = "- {name: host, kind: process.host}\n";
        lua(registry(service, ""), "f", "GET /", &source).entries(host).build()
    };
    let (built, next) = (app("old"), app("new"));
    let lines = Lines::default();
    let loader = Loader::builder().guest_log(lines.clone()).open(&built).unwrap();
    let old = loader.downgrade();
    let mut deployment = Deployment::start(loader, Arc::new(|_, _| {})).unwrap();
    deployment.status().settled().await;
    let address = lines.take()[0].rsplit_once(' ').unwrap().1.parse().unwrap();
    let mut client = Client::new(address).await;
    assert_eq!(client.ask(http::Request::get("/"), "").await.text(), "old");
    let next = Loader::builder().succeeding(deployment.loader()).open(&next).unwrap();
    assert_eq!(deployment.replace(next).await.unwrap(), Vec::<String>::new());
    // With the connection still open.
    while old.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.ask(http::Request::get("/"), "").await.text(), "new");
    deployment.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_under_way_ends_on_the_bundle_that_it_began_with() {
    let source = "res:write('old ')\nres:flush()\nrequire('time').sleep('100ms')\nres:write(require('funcs').call('app:inner'))";
    let inner = |text: &str| {
        format!(
            "- name: inner\n  kind: function.lua\n  source: |\n    return function() return '{text}' end\n"
        )
    };
    let app = App::new(lua(registry("", ""), "f", "GET /", source).entries(&inner("old"))).await;
    let answer = app.client().await.start(http::Request::get("/"), "").await.unwrap();
    let built = lua(registry("", ""), "f", "GET /", source).entries(&inner("new")).build();
    app.server.replace(Site::new(&Loader::open(&built).unwrap(), &id()).unwrap());
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "old old");
    assert_eq!(app.get("/").await.text(), "old new");
}
