//! Containers of a real daemon. Stacks are containers with the labels that `docker compose` gives them; compose itself
//! is not run, neither here nor by `dedup`.

use super::{Remembered, spec};
use crate::support::docker::Docker;
use dedup_modules::machine::Machine;
use dedup_modules::services::{Noted, ServiceError, Services};
use std::fs;
use std::path::Path;
use std::time::Duration;

fn with<T>(docker: &Docker, work: impl FnOnce(&Services<'_, '_>) -> T) -> T {
    let (around, log) = (docker.surroundings(), Remembered::default());
    let machine = Machine {
        run: "run-1",
        around: &around,
        log: &log,
        state_dir: Path::new("/"),
        cancelled: &|| false,
        elapsed: &|| Duration::ZERO,
    };
    work(&Services::new(&machine))
}

fn ran(parts: &[&str]) -> Noted {
    Noted { running: !parts.is_empty(), parts: parts.iter().map(|part| (*part).to_owned()).collect() }
}

/// One daemon for all of it: it takes a while to come up.
#[test]
fn containers_and_stacks_are_stopped_and_exactly_what_ran_is_started() {
    let docker = Docker::start();
    single(&docker);
    fleeting(&docker);
    stack(&docker);
}

fn single(docker: &Docker) {
    docker.container("db", &[]);
    let stops = spec("name = \"db\"\nkind = \"container\"\nstop_timeout = \"20s\"");
    let pauses = spec("name = \"db\"\nkind = \"container\"\nmethod = \"pause\"");
    let unknown = spec("name = \"d\"\nkind = \"container\"");
    with(docker, |services| {
        let noted = services.note(&stops).unwrap();
        assert_eq!(noted, ran(&["db"]));
        services.stop(&stops, &noted).unwrap();
        assert_eq!(docker.state("db"), "exited");
        assert_eq!(services.note(&stops).unwrap(), Noted::default());
        for _ in 0..2 {
            services.start(&stops, &noted).unwrap();
            assert_eq!(docker.state("db"), "running");
        }
        services.stop(&pauses, &noted).unwrap();
        assert_eq!(docker.state("db"), "paused");
        services.start(&pauses, &noted).unwrap();
        assert_eq!(docker.state("db"), "running");
        assert!(matches!(services.note(&unknown), Err(ServiceError::Unknown(_))), "only whole names");
        let id = docker.call(&["ps", "--quiet"]).unwrap();
        let by_id = spec(&format!("name = \"{id}\"\nkind = \"container\""));
        assert!(matches!(services.note(&by_id), Err(ServiceError::Unknown(_))), "numbers are not names");
    });
}

fn fleeting(docker: &Docker) {
    docker.container("brief", &["--rm"]);
    let brief = spec("name = \"brief\"\nkind = \"container\"");
    with(docker, |services| {
        assert!(matches!(services.note(&brief), Err(ServiceError::Fleeting(_))), "its stop would remove it");
    });
    assert_eq!(docker.state("brief"), "running");
    docker.call(&["rm", "--force", "brief", "db"]).unwrap();
}

fn stack(docker: &Docker) {
    let place = crate::support::Scratch::new();
    let file = place.path("docker-compose.yml").display().to_string();
    let stack = spec(&format!("name = \"shop\"\nkind = \"compose\"\nfile = \"{file}\""));
    with(docker, |services| {
        assert!(
            matches!(services.note(&stack), Err(ServiceError::Unknown(_))),
            "neither file nor containers"
        );
    });
    fs::write(&file, "services: {}").unwrap();
    let member = |project: &str, service: &str, depends: &str| {
        let label = |name: &str, value: &str| format!("--label=com.docker.compose.{name}={value}");
        let labels = [
            label("project", project),
            label("service", service),
            label("depends_on", depends),
            label("project.config_files", &file.replace("shop", project)),
            label("project.working_dir", "/"),
        ];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        docker.container(&format!("{project}-{service}-1"), &labels);
    };
    member("shop", "app", "zdb:service_started:false,cache:service_started:false");
    member("shop", "zdb", "");
    member("shop", "cache", "");
    member("shop", "jobs", "app:service_started:false");
    docker.container("alone", &[]);
    docker.call(&["stop", "--time", "5", "shop-cache-1"]).unwrap();
    let states = || {
        ["shop-zdb-1", "shop-cache-1", "shop-app-1", "shop-jobs-1", "alone"].map(|name| docker.state(name))
    };
    with(docker, |services| {
        let noted = services.note(&stack).unwrap();
        assert_eq!(noted, ran(&["shop-zdb-1", "shop-app-1", "shop-jobs-1"]), "what others need comes first");
        services.stop(&stack, &noted).unwrap();
        assert_eq!(states(), ["exited", "exited", "exited", "exited", "running"]);
        // A restore may have put another file there, or none.
        fs::remove_file(&file).unwrap();
        services.start(&stack, &noted).unwrap();
        assert_eq!(states(), ["running", "exited", "running", "running", "running"]);
        let one = spec(
            "name = \"x\"\nkind = \"compose\"\nproject = \"shop\"\nservice = \"app\"\nmethod = \"pause\"",
        );
        let noted = services.note(&one).unwrap();
        assert_eq!(noted, ran(&["shop-app-1"]));
        services.stop(&one, &noted).unwrap();
        assert_eq!(states(), ["running", "exited", "paused", "running", "running"]);
        services.start(&one, &noted).unwrap();
        assert_eq!(docker.state("shop-app-1"), "running");
    });
}
