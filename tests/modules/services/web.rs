//! The web server: the real Apache, run by the real systemd; what it serves is asked from it.

use super::{Rig, spec};
use dedup_modules::services::{Noted, ServiceError};
use std::fs;

/// Debian's unit, without what needs a whole system.
const APACHE: &str = "[Service]\nType=forking\nEnvironment=APACHE_STARTED_BY_SYSTEMD=true\nExecStart=/usr/sbin/apachectl start\n\
    ExecStop=/usr/sbin/apachectl graceful-stop\nExecReload=/usr/sbin/apachectl graceful\nKillMode=mixed\nRestart=on-abort\n";

fn rig() -> Rig {
    let rig = Rig::new(&[("apache2.service", APACHE)]);
    assert!(rig.systemd.root("etc/apache2/apache2.conf").exists(), "Debian's package apache2 is needed");
    for tool in ["a2query", "a2ensite", "a2dissite", "a2enconf", "a2disconf", "a2enmod", "a2dismod"] {
        rig.systemd.inside(tool);
    }
    let etc = |name: &str, text: &str| fs::write(rig.systemd.root("etc/apache2").join(name), text).unwrap();
    let open = "<Directory /test>\nRequire all granted\n</Directory>\n";
    etc(
        "sites-available/shop.conf",
        &format!("<VirtualHost *:80>\nServerName shop\nDocumentRoot /test/shop\n</VirtualHost>\n{open}"),
    );
    etc("conf-available/extra.conf", "Alias /extra /test/extra\n");
    for (name, text) in [("shop/index.html", "the shop"), ("extra/index.html", "more")] {
        let path = rig.systemd.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    rig.systemd.run_inside(&["a2ensite", "-q", "shop"]);
    rig.systemd.run_inside(&["a2enconf", "-q", "extra"]);
    rig.systemd.run_inside(&["a2enmod", "-q", "info"]);
    rig.systemd.systemctl(&["start", "apache2"]);
    assert_eq!(rig.systemd.state("apache2.service"), "active");
    rig
}

/// Asks the server for a page of a site.
fn page(rig: &Rig, path: &str) -> String {
    let client = "use IO::Socket::INET; my $s = IO::Socket::INET->new('127.0.0.1:80') or exit; \
                  print $s \"GET $ARGV[0] HTTP/1.0\\r\\nHost: shop\\r\\n\\r\\n\"; print <$s>;";
    rig.systemd.run_inside(&["perl", "-e", client, path])
}

/// Waits until a page is as it should be: workers of the former configuration may answer a moment longer.
fn page_becomes(rig: &Rig, path: &str, part: &str, there: bool) {
    for _ in 0..200 {
        if page(rig, path).contains(part) == there {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{path} has {part:?}: {}, though it should not be so:\n{}", !there, page(rig, path));
}

#[test]
fn sites_configurations_and_modules_are_disabled_and_enabled() {
    let rig = rig();
    for (kind, name, path, part) in [
        ("web-site", "shop", "/index.html", "the shop"),
        ("web-config", "extra", "/extra/index.html", "more"),
        ("web-module", "info", "/server-info", "Apache Server Information"),
    ] {
        page_becomes(&rig, path, part, true);
        let service = spec(&format!("name = \"{name}\"\nkind = \"{kind}\""));
        let noted = rig.note(&service).unwrap();
        assert_eq!(noted, Noted { running: true, parts: vec![] });
        rig.stop(&service, &noted).unwrap();
        page_becomes(&rig, path, part, false);
        assert!(page(&rig, "/").contains("HTTP/1.1 "), "the server itself goes on");
        let off = rig.note(&service).unwrap();
        assert_eq!(off, Noted::default());
        rig.start(&service, &off).unwrap();
        page_becomes(&rig, path, part, false);
        for _ in 0..2 {
            rig.start(&service, &noted).unwrap();
        }
        page_becomes(&rig, path, part, true);
        let wrong = spec(&format!("name = \"no-such\"\nkind = \"{kind}\""));
        assert!(matches!(rig.note(&wrong), Err(ServiceError::Unknown(_))), "{kind}");
    }
}

#[test]
fn a_server_that_does_not_take_its_configuration_is_told_of_and_a_stopped_one_is_not_started() {
    let rig = rig();
    let service = spec("name = \"shop\"\nkind = \"web-site\"");
    let noted = rig.note(&service).unwrap();
    let broken = rig.systemd.root("etc/apache2/conf-available/extra.conf");
    fs::write(&broken, "NoSuchDirective on\n").unwrap();
    let error = rig.stop(&service, &noted).unwrap_err();
    assert!(matches!(error, ServiceError::NotReloaded { .. }), "{error}");
    page_becomes(&rig, "/index.html", "the shop", true);
    fs::write(&broken, "").unwrap();
    rig.systemd.systemctl(&["stop", "apache2"]);
    rig.stop(&service, &noted).unwrap();
    rig.start(&service, &noted).unwrap();
    assert_eq!(rig.systemd.state("apache2.service"), "inactive");
    assert!(rig.systemd.root("etc/apache2/sites-enabled/shop.conf").symlink_metadata().is_ok());
}
