//! Interfaces of the embedding program: granted, not offered, not granted, failing, panicking, and calling
//! back into the loader.

use loader::{ErrorKind, Loader, Val};
use tokio::sync::mpsc;

use crate::outcomes::{call, expect_failure, expect_number, failure};
use crate::steps::{CONTROL, GRANTED, Host, manual};
use crate::support::Registry;

#[tokio::test]
async fn a_granted_interface_is_called() {
    let built = Registry::new().stepping("once", "once", GRANTED).stepping("other", "once", GRANTED).build();
    let (seen, mut entries) = mpsc::unbounded_channel();
    let builder = Loader::builder().host_interface(CONTROL, move |interface| {
        let seen = seen.clone();
        interface.func_wrap("step", move |store, (n,): (u32,)| {
            // A host function sees for whom it works.
            seen.send(store.data().entry().to_string()).unwrap();
            Ok((n * 2,))
        })
    });
    let loader = builder.open(&built).unwrap();
    for name in ["once", "other"] {
        assert_eq!(call(&loader, name, &[Val::U32(21)]).await, Ok(Some(Val::U32(42))));
        assert_eq!(entries.recv().await, Some(format!("app:{name}")));
    }
    assert_eq!(loader.verify().unwrap().entries, 2);
}

#[tokio::test]
async fn an_interface_that_is_not_offered_makes_its_entries_unavailable() {
    let built = Registry::new().stepping("once", "once", GRANTED).answer("answer", 42).build();
    let loader = Loader::open(&built).unwrap();
    let reason = "needs host interface `acme:host/control` of the embedding program";
    let listed: Vec<_> = loader.entries().unwrap().into_iter().map(|entry| entry.unavailable).collect();
    assert_eq!(listed, [None, Some(reason.to_owned())]);
    let message = format!("`app:once` is not available: {reason}");
    expect_failure(&loader, "once", &[Val::U32(1)], ErrorKind::Unavailable, &message).await;
    expect_number(&loader, "answer", 42).await;
    let verified = loader.verify().unwrap();
    assert_eq!(verified.unavailable, [("app:once".parse().unwrap(), reason.to_owned())]);
    assert_eq!((verified.entries, verified.faults), (1, vec![]));
}

#[tokio::test]
async fn an_interface_that_is_not_granted_is_denied_when_it_is_called() {
    let built = Registry::new()
        .stepping("denied", "once", "")
        .stepping("idle", "spin", "")
        .stepping("granted", "once", GRANTED)
        .build();
    let loader = Host::default().open(&built, |_, n| n);
    let message = "`app:denied` called `step` of `acme:host/control@1.0.0`, which it was not granted; \
                   add `acme:host/control` to its `imports`";
    for _ in 0..2 {
        expect_failure(&loader, "denied", &[Val::U32(1)], ErrorKind::PermissionDenied, message).await;
        assert_eq!(call(&loader, "granted", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
    }
}

#[tokio::test]
async fn an_interface_of_another_type_is_refused_when_it_is_linked() {
    let built = Registry::new().stepping("once", "once", GRANTED).answer("answer", 42).build();
    let builder = Loader::builder()
        .host_interface(CONTROL, |interface| interface.func_wrap("step", |_, (_,): (String,)| Ok((0u32,))));
    let loader = builder.open(&built).unwrap();
    let (kind, message) = failure(&loader, "once", &[Val::U32(1)]).await;
    assert_eq!(kind, ErrorKind::Internal);
    assert!(message.starts_with("`app:once`: can't be linked: "), "{message}");
    assert!(message.contains("acme:host/control@1.0.0"), "{message}");
    expect_number(&loader, "answer", 42).await;
    assert_eq!(loader.verify().unwrap().faults.len(), 1);
}

#[tokio::test]
async fn a_host_function_that_fails_ends_the_call() {
    let built = Registry::new().stepping("once", "once", GRANTED).answer("answer", 42).build();
    let builder = Loader::builder().host_interface(CONTROL, |interface| {
        interface.func_wrap("step", |_, (n,): (u32,)| match n {
            0 => Err(std::io::Error::other("the disk is gone").into()),
            n => Ok((n,)),
        })
    });
    let loader = builder.open(&built).unwrap();
    let message = "`app:once` failed in `once`: the disk is gone";
    for _ in 0..2 {
        expect_failure(&loader, "once", &[Val::U32(0)], ErrorKind::Internal, message).await;
        assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
        expect_number(&loader, "answer", 42).await;
    }
}

#[tokio::test]
async fn a_panic_in_a_host_function_ends_the_call_and_not_the_process() {
    let built = Registry::new().stepping("once", "once", GRANTED).answer("answer", 42).build();
    let loader = Host::default().open(&built, |_, n| match n {
        0 => panic!("out of luck"),
        1 => panic!("out of luck at {n}"),
        2 => std::panic::panic_any(7),
        n => n,
    });
    for (n, text) in [(0, "out of luck"), (1, "out of luck at 1"), (2, "unknown")] {
        let message = format!("`app:once`: a host function panicked: {text}");
        expect_failure(&loader, "once", &[Val::U32(n)], ErrorKind::Internal, &message).await;
        assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
        expect_number(&loader, "answer", 42).await;
    }
}

/// A panic while an interface is linked leaves the loader usable, too.
#[tokio::test]
async fn a_panic_while_linking_ends_the_call_and_not_the_process() {
    let built = Registry::new().stepping("once", "once", GRANTED).answer("answer", 42).build();
    let builder = Loader::builder().host_interface(CONTROL, |_| panic!("not today"));
    let loader = builder.open(&built).unwrap();
    for _ in 0..2 {
        let message = "`app:once`: a host function panicked: not today";
        expect_failure(&loader, "once", &[Val::U32(0)], ErrorKind::Internal, message).await;
        expect_number(&loader, "answer", 42).await;
    }
}

/// Calls `app:once` with one less from inside its own host function, down to zero, and counts on the way up.
async fn down(host: Host, n: u32) -> Result<u32, String> {
    if n == 0 {
        return Ok(0);
    }
    match call(host.loader(), "once", &[Val::U32(n - 1)]).await {
        Ok(Some(Val::U32(depth))) => Ok(depth + 1),
        other => Err(format!("at {n}: {other:?}")),
    }
}

fn nesting(host: &Host, bundle: impl AsRef<std::path::Path>) -> Loader {
    let inside = host.clone();
    let builder = manual().host_interface(CONTROL, move |interface| {
        let host = inside.clone();
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            host.begin_step();
            let host = host.clone();
            Box::new(async move { Ok((down(host, n).await.map_err(std::io::Error::other)?,)) })
        })
    });
    host.open_with(builder, bundle)
}

#[tokio::test]
async fn a_host_function_may_call_back_into_the_loader() {
    let built = Registry::new().stepping("once", "once", GRANTED).build();
    let host = Host::default();
    let loader = nesting(&host, &built);
    assert_eq!(call(&loader, "once", &[Val::U32(64)]).await, Ok(Some(Val::U32(64))));
    assert_eq!(host.steps(), 65);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_calls_run_beside_each_other() {
    let built =
        Registry::new().stepping("once", "once", &format!("{GRANTED}\npool: {{type: inline}}")).build();
    let host = Host::default();
    let loader = nesting(&host, &built);
    let calls = [16, 32, 64].map(|depth| {
        let loader = loader.clone();
        tokio::spawn(async move { (depth, call(&loader, "once", &[Val::U32(depth)]).await) })
    });
    for call in calls {
        let (depth, result) = call.await.unwrap();
        assert_eq!(result, Ok(Some(Val::U32(depth))));
    }
    assert_eq!(host.steps(), 16 + 32 + 64 + 3);
}
