//! An entry for tests.

use dedup_engine::listing::{Body, Node, Time, Xattrs};

/// Returns an entry of user ann, who has number 1000.
pub fn test_node(body: Body) -> Node {
    let time = Time { secs: 1_700_000_000, nanos: 0 };
    Node {
        body,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        names: Some(("ann".into(), "users".into())),
        mtime: time,
        ctime: time,
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        suspect: false,
    }
}
