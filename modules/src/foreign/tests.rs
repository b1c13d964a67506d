//! Readers of foreign backups, beside the tools that write them.

use super::archive::{Archive, plain_name};
use super::database::Database;
use super::mysql_text::load;
use super::tar::{TarKind, TarReader};
use crate::records::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Packs a directory by GNU tar.
fn packed(dir: &Path, format: &str) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir).args([
        &format!("--format={format}"),
        "--sort=name",
        "--owner=nobody:1234567",
        "-cf",
        "-",
        ".",
    ]);
    tar.output().unwrap().stdout
}

#[test]
fn every_form_of_gnu_tar_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let long = "long-name-".repeat(20);
    fs::write(dir.path().join("file"), "content").unwrap();
    fs::write(dir.path().join(&long), "long").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    symlink("t/".repeat(70), dir.path().join("link")).unwrap();
    fs::hard_link(dir.path().join("file"), dir.path().join("zweiter")).unwrap();
    for format in ["gnu", "pax", "oldgnu"] {
        let bytes = packed(dir.path(), format);
        let scratch = tempfile::tempdir().unwrap();
        let archive = Archive::unpack(&bytes[..], scratch.path(), &|| false).unwrap();
        let kind = |name: &str| archive.find(name).map(|packed| packed.header.kind);
        assert_eq!(kind("dir"), Some(TarKind::Directory), "{format}");
        assert_eq!(kind("zweiter"), Some(TarKind::Link), "{format}");
        assert_eq!(archive.bytes(&long, 100).unwrap().as_deref(), Some(&b"long"[..]), "{format}");
        let link = &archive.find("link").unwrap().header;
        assert_eq!((link.kind, link.target.len()), (TarKind::Symlink, 140), "{format}");
        let file = &archive.find("file").unwrap().header;
        assert_eq!((file.uid, &file.user[..], file.size), (1_234_567, "nobody", 7), "{format}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "what is unpacked has no name");
        // Cut anywhere, it is never taken for whole.
        for at in (0..bytes.len() - 512).step_by(97) {
            let mut reader = TarReader::new(&bytes[..at]);
            let ended = loop {
                match reader.next_entry() {
                    Ok(Some(_)) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            let whole = bytes[..at].chunks_exact(512).any(|block| block.iter().all(|byte| *byte == 0));
            assert!(!ended || whole, "{format}: cut at {at}");
        }
    }
}

#[test]
fn names_are_taken_as_people_mean_them() {
    for (name, plain) in
        [("./a/b", "a/b"), ("/a", "a"), ("a/", "a"), (".", ""), ("././/x//", "x"), ("..", ".."), (".a", ".a")]
    {
        assert_eq!(plain_name(name.as_bytes()), plain.as_bytes(), "{name}");
    }
}

fn rows(text: &str, table: &str) -> Vec<Vec<Value>> {
    let scratch = tempfile::tempdir().unwrap();
    let mut database = Database::new(scratch.path()).unwrap();
    load("test", text.as_bytes(), &mut database, &|| false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the database has no name");
    let columns = database.table(table).unwrap().columns.clone();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut rows = Vec::new();
    let read = database.rows(table, &columns, None, &mut |row| {
        rows.push(row.to_vec());
        Ok(())
    });
    read.unwrap();
    rows
}

#[test]
fn strings_of_mysql_are_what_mysql_reads_in_them() {
    let text = |text: &str| Value::Text(text.into());
    let dump = r#"CREATE TABLE `t` (`a` int, `select` text, c text COMMENT 'a, b (c', CONSTRAINT `x` CHECK (json_valid(`c`)));
        INSERT INTO `t` VALUES (1,'a\'b''c\\d\n\0\Z\%',"q\"q"),(-2,NULL,''),(18446744073709551615,'; INSERT INTO','-- x'),(0x00ff,X'41',b'101'),(1.50,_utf8mb4'x',_binary 'y');
        INSERT INTO t (c,`a`) VALUES ('only',7);"#;
    let found = rows(dump, "t");
    assert_eq!(found[0], [Value::Int(1), text("a'b'c\\d\n\0\u{1a}\\%"), text("q\"q")]);
    assert_eq!(found[1], [Value::Int(-2), Value::Null, text("")]);
    assert_eq!(found[2], [text("18446744073709551615"), text("; INSERT INTO"), text("-- x")]);
    assert_eq!(found[3], [Value::Bytes(vec![0, 255]), Value::Bytes(b"A".to_vec()), Value::Int(5)]);
    assert_eq!(found[4], [text("1.50"), text("x"), Value::Bytes(b"y".to_vec())]);
    assert_eq!(found[5], [Value::Int(7), Value::Null, text("only")]);
}

#[test]
fn tables_that_differ_in_case_only_are_two() {
    let dump = "CREATE TABLE `T` (`a` int, `A` int);INSERT INTO `T` VALUES (1,2);CREATE TABLE `t` (`a` int);INSERT INTO `t` VALUES (3);";
    assert_eq!(rows(dump, "T"), [[Value::Int(1), Value::Int(2)]]);
    assert_eq!(rows(dump, "t"), [[Value::Int(3)]]);
}

#[test]
fn a_dump_that_makes_no_sense_is_refused_with_its_line() {
    for (text, told) in [
        ("CREATE TABLE `t` (`a` int);\nINSERT INTO `t` VALUES (1,2);", "2 values"),
        ("CREATE TABLE `t` (`a` int);\nINSERT INTO `t` VALUES ('x", "line 2: a string has no end"),
        ("CREATE TABLE `t` (`a` int);\nINSERT INTO `t` VALUES (1)", "line 2: the text ends"),
        ("CREATE TABLE `t` (`a` int);INSERT INTO `t` VALUES (now());", "no value"),
        ("INSERT INTO `t` SELECT 1;", "was not made"),
        ("CREATE TABLE `t` (`a` int);CREATE TABLE `t` (`a` int);", "twice"),
        ("CREATE TABLE `t` (PRIMARY KEY (`a`));", "0 columns"),
        ("/* no end", "a comment has no end"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let mut database = Database::new(scratch.path()).unwrap();
        let error = load("test", text.as_bytes(), &mut database, &|| false).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}
