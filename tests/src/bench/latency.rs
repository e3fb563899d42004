//! From `apply` to running and to serving. The image is there already: one Pod of it runs all the time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    BUSYBOX, Bench, Plan, QUIET,
    figures::{Row, milliseconds},
};
use crate::{
    api::{Api, collection},
    ports,
    samples::{deployment, pod_spec, set_command, set_variable, wasm_deployment},
};

/// Between two attempts to reach a Pod.
const PAUSE: Duration = Duration::from_millis(1);

/// Everything about latency.
#[must_use]
pub fn all(plan: &Plan) -> Vec<Row> {
    let bench = Bench::start();
    let api = bench.hub.api();
    let mut rows = Vec::new();
    let apart = plan.pause.as_millis();
    let how = |count: usize, to: &str| format!("{to}, {count} times, {apart} ms apart");
    let running = "POST to `Ready` seen in a watch";

    let wasm = |name: &str| wasm_deployment(name, QUIET, 1);
    keep_one(&api, &wasm("kept-wasm"));
    let took = apply(&api, plan, &wasm);
    let figure = milliseconds(&took);
    rows.push(Row::new("apply to running, Wasm", figure, "≤ 50 ms", how(plan.rounds, running)));
    let figure = milliseconds(&update(&api, plan, wasm("changed-wasm")));
    let to = "PUT to the new Pod `Ready` in a watch";
    rows.push(Row::new("update, Wasm", figure, "≤ 400 ms", how(plan.updates, to)));

    let goals = [("apply to running, container", "≤ 200 ms"), ("update, container", "≤ 400 ms")];
    if let Some(why) = &bench.no_containers {
        rows.extend(
            goals.map(|(what, goal)| Row::new(what, "not measured".into(), goal, why.clone())),
        );
        return rows;
    }
    keep_one(&api, &sleeper("kept-container"));
    let [(applied, apply_goal), (updated, update_goal)] = goals;
    let figure = milliseconds(&apply(&api, plan, &sleeper));
    rows.push(Row::new(
        applied,
        figure,
        apply_goal,
        format!("{}, runc", how(plan.rounds, running)),
    ));
    let figure = milliseconds(&serve(&api, plan));
    let to = "PUT to the new Pod's first answer over HTTP";
    rows.push(Row::new(updated, figure, update_goal, format!("{}, runc", how(plan.updates, to))));
    rows
}

/// A container that does nothing and ends when it is asked to.
#[must_use]
pub fn sleeper(name: &str) -> Value {
    let mut sleeper = deployment(name, BUSYBOX, 1);
    set_command(&mut sleeper, &["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"]);
    sleeper
}

fn keep_one(api: &Api, workload: &Value) {
    api.apply("deployments", workload);
    let _running = api.until_one_runs(workload["metadata"]["name"].as_str().unwrap());
}

/// Applies one workload after another; each is gone before the next comes.
fn apply(api: &Api, plan: &Plan, workload: &dyn Fn(&str) -> Value) -> Vec<f64> {
    let watch = api.watch("/api/v1/pods");
    let mut took = Vec::with_capacity(plan.rounds);
    for round in 0..plan.rounds {
        thread::sleep(plan.pause);
        let name = format!("round-{round}");
        let workload = workload(&name);
        let prefix = format!("{name}-");
        let start = Instant::now();
        api.post(&collection("deployments"), &workload).unwrap();
        let ready = watch.until("the Pod runs", |seen| {
            let pod = seen.pod();
            pod.name.starts_with(&prefix) && pod.ready
        });
        took.push(ready.at.duration_since(start).as_secs_f64() * 1000.0);
        api.remove("deployments", &name);
        watch.until("the Pod is gone", |seen| {
            seen.word == "DELETED" && seen.pod().name.starts_with(&prefix)
        });
    }
    took
}

/// Changes one workload again and again.
fn update(api: &Api, plan: &Plan, mut workload: Value) -> Vec<f64> {
    let name = workload["metadata"]["name"].as_str().unwrap().to_owned();
    keep_one(api, &workload);
    let watch = api.watch("/api/v1/pods");
    let mut took = Vec::with_capacity(plan.updates);
    for round in 0..plan.updates {
        thread::sleep(plan.pause);
        let before = api.until_one_runs(&name);
        set_variable(&mut workload, "ROUND", &round.to_string());
        let start = Instant::now();
        api.put(&format!("{}/{name}", collection("deployments")), &workload).unwrap();
        let prefix = format!("{name}-");
        let ready = watch.until("the new Pod runs", |seen| {
            let pod = seen.pod();
            let is_new = pod.template != before.template && seen.at >= start;
            pod.name.starts_with(&prefix) && is_new && pod.ready
        });
        took.push(ready.at.duration_since(start).as_secs_f64() * 1000.0);
    }
    api.remove("deployments", &name);
    api.until_pods("it is gone", &name, |pods| pods.is_empty());
    took
}

/// Changes a service again and again, until the change can be seen from outside.
fn serve(api: &Api, plan: &Plan) -> Vec<f64> {
    let address = ports::free();
    let service = |round: usize| {
        let mut service = deployment("service", BUSYBOX, 1);
        // Every request is answered with the round.
        let line = format!(
            "trap 'exit 0' TERM; echo {round} > /tmp/index.html; httpd -f -p {address} -h /tmp & wait"
        );
        set_command(&mut service, &["/bin/sh", "-c", &line]);
        pod_spec(&mut service)["hostNetwork"] = json!(true);
        service
    };
    keep_one(api, &service(0));
    until_answered(address, 0);
    let mut took = Vec::with_capacity(plan.updates);
    for round in 1..=plan.updates {
        thread::sleep(plan.pause);
        let start = Instant::now();
        api.put(&format!("{}/service", collection("deployments")), &service(round)).unwrap();
        until_answered(address, round);
        took.push(start.elapsed().as_secs_f64() * 1000.0);
        let _settled = api.until_one_runs("service");
    }
    api.remove("deployments", "service");
    took
}

fn until_answered(address: SocketAddr, round: usize) {
    let deadline = Instant::now() + crate::wait::DEADLINE;
    let expected = round.to_string();
    loop {
        let answer = ask(address).unwrap_or_default();
        if answer.lines().last() == Some(&expected) {
            return;
        }
        assert!(Instant::now() < deadline, "the service should answer {round}, not {answer:?}");
        thread::sleep(PAUSE);
    }
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
