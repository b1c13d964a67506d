//! Archives as others write them, and as nobody should.

use super::{
    About, AboutDump, AboutItem, AboutListing, Member, MemberKind, Members, TarSource, fuzz_archive,
};
use dedup_engine::backup::source::{Found, Source};
use dedup_engine::listing::Time;
use proptest::prelude::*;
use std::process::Command;
use std::sync::Arc;

/// A change of a header.
type Change = Box<dyn Fn(&mut [u8])>;

/// Packs a directory as GNU tar does.
fn packed(dir: &std::path::Path, options: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["-C".as_ref(), dir.as_os_str()]).args(["--sort=name", "-cf", "-"]);
    let packed = tar.args(options).arg(".").output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    packed.stdout
}

fn members(archive: &[u8]) -> Result<Vec<Member>, String> {
    let archive = archive.to_vec();
    let (mut walk, mut all) = (Members::new(&archive, archive.len() as u64), Vec::new());
    while let Some(member) = walk.next().map_err(|error| error.to_string())? {
        all.push(member);
    }
    Ok(all)
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("files");
    std::fs::create_dir_all(files.join("sub")).unwrap();
    std::fs::write(files.join("a"), b"first").unwrap();
    std::fs::hard_link(files.join("a"), files.join("sub/linked")).unwrap();
    std::fs::write(files.join("sub").join("ä".repeat(100)), vec![7; 3000]).unwrap();
    std::os::unix::fs::symlink("a", files.join("sub/symlink")).unwrap();
    std::fs::write(files.join("sub/zero"), b"").unwrap();
    dir
}

#[test]
fn archives_of_tar_are_read_in_each_of_its_forms() {
    let dir = tree();
    let names =
        [".", "files", "files/a", "files/sub", "files/sub/linked", "files/sub/symlink", "files/sub/zero"];
    for form in ["--format=pax", "--format=gnu"] {
        let archive = packed(dir.path(), &[form]);
        let all = members(&archive).unwrap();
        let mut found: Vec<String> =
            all.iter().map(|member| String::from_utf8(member.path.to_slashes()).unwrap()).collect();
        let long = found.pop().unwrap();
        assert_eq!(long, format!("files/sub/{}", "ä".repeat(100)), "{form}");
        assert_eq!(found[1..], names[1..], "{form}");
        let of = |name: &str| all.iter().find(|member| member.path.to_slashes() == name.as_bytes()).unwrap();
        assert_eq!(&archive[of("files/a").at as usize..][..5], b"first");
        assert_eq!(of("files/sub/symlink").kind, MemberKind::Symlink(b"a".to_vec()));
        assert!(
            matches!(&of("files/sub/linked").kind, MemberKind::HardLink(first) if first.to_slashes() == b"files/a")
        );
        assert_eq!(all.last().unwrap().size, 3000);
        // Every cut of it is refused, whatever was read before.
        for cut in (0..archive.len().min(8000)).step_by(256) {
            let ends_early = members(&archive[..cut]);
            assert!(ends_early.is_err(), "{form}: cut at {cut}");
        }
    }
}

#[test]
fn a_source_has_what_is_below_its_directory() {
    let dir = tree();
    let archive = Arc::new(packed(dir.path(), &["--format=pax"]));
    let source = TarSource::new(&archive, archive.len() as u64, b"files", true).unwrap();
    assert_eq!(source.entries(), 7);
    let (mut inodes, mut names) = (Vec::new(), Vec::new());
    source
        .walk(&mut |found| {
            let Found::Entry { path, stat, handle } = found else { panic!("{found:?}") };
            if path.to_slashes() == b"a" || path.to_slashes() == b"sub/linked" {
                let file = source.open(&handle).unwrap();
                let mut bytes = [0; 9];
                assert_eq!((file.read_at(&mut bytes, 0).unwrap(), &bytes[..5]), (5, &b"first"[..]));
                assert_eq!(file.read_at(&mut bytes, 5).unwrap(), 0);
                inodes.push((stat.ino, stat.nlink > 1, stat.size));
            }
            names.push(String::from_utf8(path.to_slashes()).unwrap());
            Ok(())
        })
        .unwrap();
    assert_eq!(names[0], "", "its root");
    assert_eq!(inodes[0], inodes[1], "names of one file");
    assert!(inodes[0].1);
    let without = TarSource::new(&archive, archive.len() as u64, b"files", false).unwrap();
    assert_eq!(without.entries(), 6);
    assert_eq!(TarSource::new(&archive, archive.len() as u64, b"nowhere", true).unwrap().entries(), 0);
}

/// Changes the header of the member that holds `name`, and makes its sum right again.
fn changed(archive: &[u8], name: &str, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let at = (0..archive.len()).step_by(512).find(|at| archive[*at..].starts_with(name.as_bytes())).unwrap();
    let header = &mut archive[at..at + 512];
    change(header);
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

#[test]
fn what_lies_is_refused() {
    let dir = tree();
    let archive = packed(dir.path(), &["--format=gnu"]);
    let refused = |archive: &[u8]| {
        let archive = Arc::new(archive.to_vec());
        let source = TarSource::new(&archive, archive.len() as u64, b"files", true);
        source.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(&archive), "");
    let put = |at: usize, bytes: &'static [u8]| {
        move |header: &mut [u8]| header[at..at + bytes.len()].copy_from_slice(bytes)
    };
    let a = |change: Change| refused(&changed(&archive, "./files/a", change));
    assert!(a(Box::new(put(0, b"../../etc\0"))).contains("no path"));
    assert!(a(Box::new(put(0, b"./files/z\0"))).contains("order of names"));
    assert!(a(Box::new(put(0, b"./files/q/q\0"))).contains("without its directory"));
    assert!(a(Box::new(put(124, b"77777777777\0"))).contains("longer than the archive"));
    assert!(a(Box::new(put(124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))).contains("size"));
    assert!(a(Box::new(put(156, b"S"))).contains("not read"));
    assert!(a(Box::new(put(100, b"9999999\0"))).contains("no number"));
    let linked = |change: Change| refused(&changed(&archive, "./files/sub/linked", change));
    assert!(linked(Box::new(put(157, b"./files/sub/zero\0"))).contains("nothing that came before"));
    assert!(linked(Box::new(put(157, b"/../x\0"))).contains("links to no path"));
    let mut flipped = archive.clone();
    flipped[700] ^= 1;
    assert!(refused(&flipped).contains("its sum is another") || refused(&flipped).is_empty());
}

fn about() -> About {
    About {
        repository: "ab".into(),
        snapshot: "cd".into(),
        time: (-5, 7, -90),
        host: "web".into(),
        tags: vec!["t".into()],
        module: "wiki".into(),
        state: "warned".into(),
        sources: vec![b"/a\xff".to_vec()],
        items: vec![AboutItem { name: "source:db".into(), outcome: 1, message: String::new() }],
        listings: vec![AboutListing { section: "data".into(), has_root: true }],
        dumps: vec![AboutDump { name: "db".into(), is_records: true, ..AboutDump::default() }],
        has_manifest: true,
        ..About::default()
    }
}

#[test]
fn descriptions_come_back_or_are_refused() {
    let about = about();
    let text = about.to_text();
    assert_eq!(About::parse(text.as_bytes()), Ok(about));
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("dedup_export", "other"),
        ("\"time_nanoseconds\": 7", "\"time_nanoseconds\": 1000000000"),
        ("\"has_root\": true", "\"has_root\": 1"),
        ("2f61ff", "2f61f"),
        ("\"host\"", "\"hosts\""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(About::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn times_are_those_of_pax() {
    let mut extended = super::pax::Extended::default();
    extended.read(b"23 mtime=-1.250000000x\n").unwrap_err();
    extended.read(b"20 mtime=-1.2500000\n").unwrap();
    assert_eq!(extended.mtime, Some(Time { secs: -2, nanos: 750_000_000 }));
    for wrong in
        ["9 mtime=\n", "99 mtime=1\n", "x mtime=1\n", "11 mtime=1 ", "7 mtim\n", "18446744073709551616 a=b\n"]
    {
        assert!(extended.read(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

proptest! {
    /// Any bytes, and an archive with some of them changed.
    #[test]
    fn no_archive_makes_a_reader_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..2000),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
    ) {
        fuzz_archive(&noise);
        fuzz_archive(about().to_text().as_bytes());
        let dir = tree();
        let mut archive = packed(dir.path(), &["--format=pax"]);
        for (at, byte) in changes {
            let at = usize::from(at) % archive.len();
            archive[at] = byte;
        }
        fuzz_archive(&archive);
    }
}
