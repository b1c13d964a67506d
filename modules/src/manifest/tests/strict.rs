//! What is refused, where the finger points, and what is said.

use super::{HEAD, has, wrong};

#[test]
fn schema_comes_first_and_a_higher_one_is_all_that_is_said() {
    let newer = wrong("schema = 7\n[module]\nid = 5\nfuture = true\n");
    assert_eq!(newer.list.len(), 1, "{newer}");
    let message = &newer.list[0].message;
    assert!(newer.is_too_new() && message.contains("schema 7") && message.contains("schema 1"), "{message}");
    assert_eq!(newer.list[0].place.to_string(), "1:10");
    assert!(wrong("schema = 99999999999999999999999\n[module]\nid = \"a\"\n").is_too_new());
    for (text, word) in [
        ("[module]\nid = \"a\"\n", "lacks `schema`"),
        ("schema = 0\n[module]\nid = \"a\"\n", "the number 1"),
        ("schema = -7\n[module]\nid = \"a\"\n", "the number 1"),
        ("schema = \"1\"\n[module]\nid = \"a\"\n", "the number 1"),
        ("module = { id = \"a\" }\nschema = 1\n", "before everything else"),
        ("module.id = \"a\"\nschema = 1\n", "before everything else"),
    ] {
        let problems = wrong(text);
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert!(problems.list[0].message.contains(word), "{problems}");
    }
}

#[test]
fn every_problem_of_a_file_is_told_at_once_in_order() {
    has(
        "[data]\ndirectoires = [\"/a\"]\nfiles = [\"/b\", 5, \"c\"]\n[restore]\nreset = \"never\"\nmodes = 1\n",
        &[
            ("2:1", &["unknown key `directoires`", "did you mean `directories`?"]),
            ("3:16", &["an absolute path", "integer"]),
            ("3:19", &["\"c\" is not absolute"]),
            ("5:9", &["\"none\", \"clear-declared\", \"command\"", "\"never\""]),
            ("6:9", &["true or false", "integer"]),
        ],
    );
    // A table that is only implied by one below it, and one written inline.
    has("[dat.x]\na = 1\n", &[("1:2", &["unknown key `dat`", "`data`"])]);
    has(
        "[data]\nentries = [{ path = \"/a\", optinal = true }]\n",
        &[("2:27", &["data.entries[0]", "`optional`"])],
    );
}

#[test]
fn broken_toml_is_told_beside_what_can_be_understood() {
    let text = format!("{HEAD}[data]\nfiels = [\"/a\"]\nfiles = [\"/b\"\n\n[[source]]\nname = \"x\n");
    let problems = wrong(&text);
    let lines: Vec<u32> = problems.list.iter().map(|problem| problem.place.line).collect();
    assert!(problems.list[0].message.contains("fiels") && lines[0] == 8, "{problems}");
    assert!(problems.list[1..].iter().all(|problem| problem.message.contains("not TOML")), "{problems}");
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "one a line: {problems}");
    has("[module]\nname = \"again\"\n", &[("1:2", &["duplicate key"])]);
    // What is missing may be in what was not understood.
    assert!(!wrong("schema = 1\nnonsense\n").to_string().contains("lacks"));
}

#[test]
fn a_hundred_problems_are_told_and_the_others_counted() {
    let keys: String = (0..250).map(|n| format!("k{n} = 1\n")).collect();
    let problems = wrong(&format!("schema = 1\n{keys}[module]\nid = \"a\"\n"));
    assert_eq!((problems.list.len(), problems.more), (100, 150));
    assert!(problems.to_string().ends_with("and 150 more"));
}

#[test]
fn values_have_forms() {
    for (body, place, word) in [
        ("[settings]\nkeys = [\"\"]\n", "2:9", "not empty"),
        ("[settings]\nkeys = \"a\"\n", "2:8", "must be an array"),
        ("[depends]\nrequires = [\"b ge 3\"]\n", "2:13", "= != < <= > >="),
        ("[depends]\nplatform = \"14\"\n", "2:12", "= != < <= > >="),
        ("[paths2]\n", "1:2", "`paths`"),
        ("[data]\nfiles = [\"/a/../b\"]\n", "2:10", ".."),
        ("[data]\nfiles = [\"/\"]\n", "2:10", "root directory"),
        ("[data]\nfiles = [\"${LIP}/x\"]\n", "2:10", "${LIB}"),
        ("[data]\nfiles = [\"__SPOOL__/x\"]\n", "2:10", "SPOOL ="),
        ("[data]\nfiles = [\"/a/${LIB}\"]\n", "2:10", "only at the beginning"),
        ("[data]\nfiles = [\"/a\\u0000b\"]\n", "2:10", "NUL"),
        ("[data]\nexclude = [\"{a,b\"]\n", "2:12", "pattern"),
        ("[data]\nentries = [{ path = \"/a\", base = \"${LIB}\" }]\n", "2:34", "path variable"),
        (
            "[data]\nentries = [{ path = \"/a\", kind = \"file\", recurse = \"all\" }]\n",
            "2:52",
            "nothing below",
        ),
        ("[exclude]\nlarger_than = \"10\"\n", "2:15", "unit"),
        ("[exclude]\nlarger_than = 10\n", "2:15", "unit"),
        ("[hooks]\nreset = { run = [\"a\"], phase = \"live\" }\n", "2:24", "unknown key `phase`"),
        ("[hooks]\ncheck = { run = [\"a\"], timeout = \"1mo\" }\n", "2:34", "differ in length"),
        ("[hooks]\ncheck = { run = [\"a b\", \"c\"], shell = true }\n", "2:17", "one text"),
        ("[hooks]\ncheck = { run = [\" \"] }\n", "2:17", "no program"),
        ("[hooks]\ncheck = { run = \"a\" }\n", "2:17", "array"),
        ("[hooks]\ncheck = { run = [\"a\"], env = { DEDUP_RUN = \"x\" } }\n", "2:44", "DEDUP_"),
        ("[hooks]\ncheck = { run = [\"a\"], where = \"there\" }\n", "2:32", "\"host\""),
        (
            "[hooks]\ncheck = { run = [\"a\"], where = { contaner = \"x\" } }\n",
            "2:34",
            "unknown key `contaner`",
        ),
        ("[hooks]\nbackup_pre = { run = [\"a\"], phase = \"published\" }\n", "2:37", "only backup_post"),
        ("[hooks]\nbackup_pre = { run = [\"a\"], states = [\"fail\"] }\n", "2:29", "unknown key `states`"),
        ("[lockdown]\nmessage = \"m\"\n", "1:1", "exactly one way"),
        ("[lockdown]\non = [\"a\"]\n", "2:6", "must unlock"),
        ("[setup]\nalways = \"ready\"\nfile = \"/x\"\n", "2:10", "exclude one another"),
        ("[spaces]\nkeep = \"30\u{e4}\"\n", "2:8", "unit"),
        ("[spaces]\nkeep = 0\n", "2:8", "1 to 10000"),
        ("[spaces]\nrevert = { comand = [\"a\"] }\n", "2:12", "unknown key `comand`"),
        ("[exporter]\n", "1:1", "no program"),
        ("[exporter]\ncommand = [\"a\"]\nprotocol = [2]\n", "3:12", "version 1"),
        ("[importer]\nbuiltin = \"a\"\nreplaces_declared = true\n", "3:1", "unknown key"),
        ("[log]\nlevel = \"warn\"\n", "2:9", "\"warning\"?"),
        ("[limits]\nnice = 20\n", "2:8", "-20 to 19"),
        ("[limits]\nread_rate = \"0M\"\n", "2:13", "never end"),
        ("[limits]\nio_class = \"idle\"\n", "2:1", "unknown key `io_class`"),
        ("[[legacy]]\nformat = \"tar\"\n", "1:1", "nothing would be taken"),
        ("[[x]]\n", "1:1", "must be a table"),
    ] {
        let problems = wrong(&format!("{HEAD}{body}"));
        let shown = problems.to_string();
        let text = shown
            .lines()
            .find(|line| line.contains(word))
            .unwrap_or_else(|| panic!("{word:?}: {shown}\n{body}"));
        let (line, column) = place.split_once(':').unwrap();
        let line: u32 = line.parse::<u32>().unwrap() + 6;
        assert!(text.starts_with(&format!("x.toml:{line}:{column}: ")), "{place} {text}\n{body}");
    }
}

#[test]
fn names_of_variables_and_their_values_are_checked() {
    for (line, word) in
        [("lib = \"/a\"", "capital"), ("A = \"a\"", "not absolute"), ("A = \"${B}/x\"", "no other variable")]
    {
        let problems = wrong(&format!("schema = 1\n[module]\nid = \"a\"\n[paths]\n{line}\n"));
        assert!(problems.to_string().contains(word) && problems.list[0].place.line == 5, "{problems}");
    }
}

#[test]
fn sources_need_what_their_driver_needs() {
    let source = |rest: &str| format!("[[source]]\nname = \"s\"\n{rest}\n");
    for (rest, place, word) in [
        ("driver = \"mongodb\"", "3:10", "\"mongodb\""),
        ("driver = \"sqlite\"", "3:10", "lacks `path`"),
        ("driver = \"command\"", "3:10", "lacks `dump`"),
        ("driver = \"redis\"\npath = \"/x\"", "4:8", "for driver sqlite"),
        ("driver = \"mariadb\"", "3:10", "which databases"),
        ("driver = \"redis\"\nformat = \"sql\"", "4:10", "it knows custom"),
        ("driver = \"redis\"\nneeds = [\"redis\"]", "4:10", "no service \"redis\""),
        ("driver = \"redis\"\nneeds = [\"x\"]\nphase = \"stopped\"", "4:9", "nothing runs"),
        ("driver = \"external\"", "3:10", "add [exporter]"),
        ("driver = \"redis\"\nendpoint = { password = \"hunter2\" }", "4:25", "store:NAME"),
        ("driver = \"redis\"\nendpoint = { password = \"file:x\" }", "4:25", "absolute"),
        ("driver = \"redis\"\nendpoint = { socket = \"/s\", host = \"h\" }", "4:36", "exclude one another"),
        ("driver = \"redis\"\nendpoint = { port = 70000 }", "4:21", "65535"),
        ("driver = \"influxdb\"\nendpoint = { compose_service = \"i\" }", "4:32", "kind compose"),
        ("driver = \"kv\"\nselect = { columns = {}, omit_columns = {} }", "4:41", "exclude one another"),
        ("driver = \"kv\"\nbatch = 1.5", "4:9", "whole number"),
    ] {
        let text = format!("{HEAD}{}", source(rest));
        let shown = wrong(&text).to_string();
        let line =
            shown.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{word:?}: {shown}"));
        let (number, column) = place.split_once(':').unwrap();
        let number: u32 = number.parse::<u32>().unwrap() + 6;
        assert!(line.starts_with(&format!("x.toml:{number}:{column}: ")), "{place} {line}");
        assert!(!shown.contains("hunter2"), "a secret is told: {shown}");
    }
    let two = format!("{}{}", source("driver = \"kv\""), source("driver = \"tree\""));
    has(&two, &[("5:8", &["two sources"])]);
    let without_platform = format!("schema = 1\n[module]\nid = \"a\"\n{}", source("driver = \"kv\""));
    assert!(wrong(&without_platform).to_string().contains("no product is named"));
}

#[test]
fn services_need_what_their_kind_needs() {
    let service = |rest: &str| format!("[[service]]\nname = \"s\"\n{rest}\n");
    has(&service("kind = \"apache\""), &[("3:8", &["\"web-site\""])]);
    has(&service("kind = \"system\"\nfile = \"/c.yml\""), &[("4:8", &["for kind compose"])]);
    has(&service("kind = \"system\"\nmethod = \"disable\""), &[("4:10", &["stop is meant"])]);
    has(&service("kind = \"web-site\"\nmethod = \"stop\""), &[("4:10", &["disable is meant"])]);
    has(&service("kind = \"container\"\nmethod = \"scale0\""), &[("4:10", &["\"pause\""])]);
    has(&service("kind = \"system\"\nstop = [\"a\"]"), &[("4:8", &["for kind command"])]);
    let lacks: &[&str] = &["lacks the program"];
    has(&service("kind = \"command\"\nstop = [\"a\"]"), &[("1:1", lacks), ("1:1", lacks)]);
    let two = format!("{}{}", service("kind = \"system\""), service("kind = \"system\""));
    has(&two, &[("5:8", &["two services"])]);
}

#[test]
fn parts_that_name_each_other_must_be_there() {
    has(
        "[depends]\nrequires = [\"A >= 1\", \"b\", \"B < 3\"]\n",
        &[("2:13", &["itself"]), ("2:28", &["twice"])],
    );
    has("[depends]\nafter = [\"a\"]\n", &[("2:10", &["itself"])]);
    has(
        "[restore]\nrequire = [\"source:db\", \"dat\"]\n",
        &[("2:12", &["no source \"db\""]), ("2:25", &["\"data\"?"])],
    );
    has("[restore]\nreset = \"command\"\n", &[("2:9", &["hook `reset`"])]);
    has("[settings]\nkeys = [\"k\"]\nstore = \"s\"\n", &[("3:9", &["driver kv"])]);
    has(
        "[data]\nfiles = [\"/x/y\"]\n[config]\ndirectories = [\"/x//y/\"]\n",
        &[("2:10", &["twice", "config.directories[0]"])],
    );
}
