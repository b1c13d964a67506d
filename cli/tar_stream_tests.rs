//! Tar streams, read back.

use super::*;
use crate::test_node::test_node as node;
use dedup_engine::listing::Content;
use std::io::Read;

fn file(size: u64) -> Node {
    node(Body::File { size, holes: Vec::new(), content: Content::default() })
}

fn path(text: &[u8]) -> StoredPath {
    StoredPath::from_slashes(text).unwrap()
}

fn none(_: &mut dyn Write) -> io::Result<()> {
    Ok(())
}

/// Name, type, size read, and the extended header of every entry.
type Seen = (Vec<u8>, EntryType, Vec<u8>, Vec<(String, Vec<u8>)>);

fn read(bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let extended = entry.pax_extensions().unwrap().map_or_else(Vec::new, |all| {
            all.map(|one| one.unwrap())
                .map(|one| (one.key().unwrap().to_owned(), one.value_bytes().to_vec()))
                .collect()
        });
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        seen.push((entry.path_bytes().into_owned(), entry.header().entry_type(), content, extended));
    }
    seen
}

fn value<'a>(seen: &'a Seen, key: &str) -> Option<&'a [u8]> {
    seen.3.iter().find(|(one, _)| one == key).map(|(_, value)| &value[..])
}

#[test]
fn entries_come_back() {
    let mut bytes = Vec::new();
    let mut tar = TarStream::new(&mut bytes);
    let long = [b"dir/".to_vec(), vec![b'n'; 200]].concat();
    assert!(tar.entry(&StoredPath::root(), &node(Body::Directory), &[], none).unwrap());
    assert!(tar.entry(&path(b"dir/a"), &file(5), &[], |out| out.write_all(b"hello")).unwrap());
    let xattrs = [(b"user.note".to_vec(), b"a=b\0".to_vec())];
    assert!(tar.entry(&path(&long), &file(512), &xattrs, |out| out.write_all(&[7; 512])).unwrap());
    assert!(tar.entry(&path(b"l\xff"), &node(Body::Symlink(b"\xfe".to_vec())), &[], none).unwrap());
    assert!(!tar.entry(&path(b"socket"), &node(Body::Socket), &[], none).unwrap());
    let mut device = node(Body::BlockDevice { major: 8, minor: 1 });
    device.uid = 4_000_000_000;
    device.mtime = Time { secs: -2, nanos: 500_000_000 };
    assert!(tar.entry(&path(b"sda"), &device, &[], none).unwrap());
    tar.finish().unwrap();

    let seen = read(&bytes);
    assert_eq!(seen.len(), 5);
    assert_eq!((&seen[0].0[..], seen[0].1), (&b"./"[..], EntryType::Directory));
    assert_eq!((&seen[1].0[..], &seen[1].2[..]), (&b"dir/a"[..], &b"hello"[..]));
    assert!(seen[1].3.is_empty(), "plain entries need no extended header");
    assert_eq!((&seen[2].0, seen[2].2.len()), (&long, 512));
    assert_eq!(value(&seen[2], "SCHILY.xattr.user.note"), Some(&b"a=b\0"[..]));
    assert_eq!(seen[3].0, b"l\xff");
    assert_eq!(value(&seen[3], "linkpath"), Some(&b"\xfe"[..]));
    assert_eq!(value(&seen[3], "hdrcharset"), Some(&b"BINARY"[..]));
    assert_eq!(value(&seen[4], "uid"), Some(&b"4000000000"[..]));
    assert_eq!(value(&seen[4], "mtime"), Some(&b"-1.5"[..]));
}

/// The reader of the crate ends a value at a line feed; the format does not, it goes by lengths.
#[test]
fn values_are_any_bytes() {
    let mut bytes = Vec::new();
    let mut tar = TarStream::new(&mut bytes);
    let xattrs = [(b"user.n".to_vec(), b"a\n\xff\nb".to_vec())];
    tar.entry(&path(b"x"), &file(0), &xattrs, none).unwrap();
    tar.finish().unwrap();
    let record = b"29 SCHILY.xattr.user.n=a\n\xff\nb\n";
    assert_eq!(record.len(), 29);
    assert!(bytes.windows(record.len()).any(|window| window == record));
}

#[test]
fn later_names_of_a_file_are_links_until_memory_ends() {
    let mut bytes = Vec::new();
    let mut tar = TarStream::new(&mut bytes);
    let mut linked = file(3);
    linked.link = Some(LinkGroup::from_bytes([1; 16]));
    let content = |out: &mut dyn Write| out.write_all(b"abc");
    tar.entry(&path(b"one"), &linked, &[], content).unwrap();
    tar.entry(&path(b"two"), &linked, &[], content).unwrap();
    tar.link_bytes = MAX_LINK_NAMES;
    linked.link = Some(LinkGroup::from_bytes([2; 16]));
    tar.entry(&path(b"three"), &linked, &[], content).unwrap();
    tar.entry(&path(b"four"), &linked, &[], content).unwrap();
    tar.finish().unwrap();
    let seen = read(&bytes);
    let kinds: Vec<_> = seen.iter().map(|seen| (seen.1, seen.2.len())).collect();
    assert_eq!(
        kinds,
        [(EntryType::Regular, 3), (EntryType::Link, 0), (EntryType::Regular, 3), (EntryType::Regular, 3)]
    );
}

#[test]
fn content_must_have_the_length_that_the_header_says() {
    for content in [&b"ab"[..], b"abcd"] {
        let mut tar = TarStream::new(Vec::new());
        let error = tar.entry(&path(b"x"), &file(3), &[], |out| out.write_all(content)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn huge_sizes_and_fractions_are_decimal() {
    let mut entry = Entry::new(&file(0));
    entry.size(1 << 40);
    assert_eq!(entry.extended, [("size".to_owned(), b"1099511627776".to_vec())]);
    let shown = |secs, nanos| decimal(Time { secs, nanos });
    assert_eq!(shown(0, 0), "0");
    assert_eq!(shown(10, 120), "10.00000012");
    assert_eq!(shown(-1, 999_999_999), "-0.000000001");
    assert_eq!(shown(100, 0), "100");
}
