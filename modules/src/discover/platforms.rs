//! Products with modules of their own: FreePBX, FreedomBox.

use super::draft::{Draft, Raw};
use super::system::System;

/// Finds platforms.
pub fn find(system: &System) -> Vec<Draft> {
    freepbx(system).into_iter().chain(freedombox(system)).collect()
}

/// Adds those of these paths that are there.
fn add(system: &System, paths: &[&str], directories: &mut Vec<String>, files: &mut Vec<String>) {
    for path in paths.iter().filter(|path| system.has(path)) {
        if system.is_dir(path) { directories.push((*path).into()) } else { files.push((*path).into()) }
    }
}

fn freepbx(system: &System) -> Option<Draft> {
    let marks = ["/etc/freepbx.conf", "/usr/sbin/fwconsole", "/var/lib/asterisk/bin/fwconsole"];
    let mark = marks.into_iter().find(|mark| system.has(mark))?;
    let mut draft = Draft::new("freepbx", "FreePBX");
    draft.found.push(mark.into());
    let (config, data, secrets) = (&mut draft.config, &mut draft.data, &mut draft.secrets);
    // Files of the switch hold the passwords of extensions and trunks.
    let private = ["/etc/freepbx.conf", "/etc/amportal.conf", "/etc/asterisk"];
    add(system, &private, &mut secrets.directories, &mut secrets.files);
    let kept = [
        "/var/lib/asterisk/sounds",
        "/var/lib/asterisk/moh",
        "/var/lib/asterisk/agi-bin",
        "/var/spool/asterisk/voicemail",
        "/var/spool/asterisk/monitor",
        "/var/spool/asterisk/fax",
    ];
    add(system, &kept, &mut data.directories, &mut data.files);
    add(system, &["/etc/odbc.ini", "/tftpboot"], &mut config.directories, &mut config.files);
    let databases = Raw::table(&[("databases", Raw::list(&["asterisk".into(), "asteriskcdrdb".into()]))]);
    let sockets = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock"];
    let socket = sockets.into_iter().find(|socket| system.has(socket)).unwrap_or(sockets[0]);
    draft.sources.push(vec![
        ("name", Raw::text("databases")),
        ("driver", Raw::text("mariadb")),
        ("select", databases),
        ("endpoint", Raw::table(&[("socket", Raw::text(socket)), ("user", Raw::text("root"))])),
    ]);
    draft
        .notes
        .push("the key-value tree of the switch (AstDB) lies in /var/lib/asterisk/astdb.sqlite3".into());
    let astdb = "/var/lib/asterisk/astdb.sqlite3";
    if system.has(astdb) {
        draft.sources.push(vec![
            ("name", Raw::text("astdb")),
            ("driver", Raw::text("sqlite")),
            ("path", Raw::text(astdb)),
        ]);
    }
    Some(draft)
}

fn freedombox(system: &System) -> Option<Draft> {
    let marks = ["/etc/plinth", "/var/lib/plinth", "/usr/share/plinth"];
    let mark = marks.into_iter().find(|mark| system.has(mark))?;
    let mut draft = Draft::new("freedombox", "FreedomBox");
    draft.found.push(mark.into());
    let mut apps = system.names("/usr/share/freedombox/modules-enabled");
    apps.extend(system.names("/etc/plinth/modules-enabled"));
    apps.sort_unstable();
    apps.dedup();
    if !apps.is_empty() {
        draft.found.push(format!("its apps {}", apps.join(", ")));
        draft.notes.push(
            "apps that are set up are proposed as modules of their own, as far as they are known".into(),
        );
    }
    let (config, secrets) = (&mut draft.config, &mut draft.secrets);
    add(system, &["/etc/plinth", "/etc/freedombox"], &mut config.directories, &mut config.files);
    // Accounts and sessions.
    let private = ["/var/lib/plinth/plinth.sqlite3"].into_iter().find(|path| system.has(path));
    let rest = ["/var/lib/plinth/sessions", "/etc/ldap", "/var/lib/ldap"];
    add(system, &rest, &mut secrets.directories, &mut secrets.files);
    if let Some(database) = private {
        draft.sources.push(vec![
            ("name", Raw::text("store")),
            ("driver", Raw::text("sqlite")),
            ("section", Raw::text("secrets")),
            ("path", Raw::text(database)),
        ]);
    }
    if let Some(unit) = system.unit(&["plinth", "freedombox"]) {
        draft.services.push(vec![("name", Raw::text(&unit)), ("kind", Raw::text("system"))]);
    }
    Some(draft)
}
