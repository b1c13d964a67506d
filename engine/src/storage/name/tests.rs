use super::*;
use proptest::prelude::*;

fn object() -> impl Strategy<Value = ObjectId> {
    // Few distinct first bytes, so that orders are decided further on too.
    (0..3u8, any::<[u8; 31]>()).prop_map(|(first, rest)| {
        let mut bytes = [first; 32];
        bytes[1..].copy_from_slice(&rest);
        ObjectId::from_bytes(bytes)
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    (0..4u8).prop_map(|b| SessionId::from_bytes([b; 16]))
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![1..20u64, 1..=Name::MAX_NUMBER, Just(Name::MAX_NUMBER)]
}

fn names() -> impl Strategy<Value = Name> {
    prop_oneof![
        Just(Name::config()),
        object().prop_map(Name::slot),
        object().prop_map(Name::pack),
        object().prop_map(Name::segment),
        object().prop_map(Name::snapshot),
        object().prop_map(Name::parity),
        session().prop_map(Name::session),
        session().prop_map(Name::end),
        (session(), numbers()).prop_map(|(s, n)| Name::intent(s, n)),
        (session(), numbers()).prop_map(|(s, n)| Name::alive(s, n)),
        (session(), numbers()).prop_map(|(s, n)| Name::run(s, n)),
        (any::<[u8; 16]>(), numbers()).prop_map(|(c, n)| Name::log(ClientId::from_bytes(c), n)),
        numbers().prop_map(Name::condemned),
        numbers().prop_map(Name::generation),
        numbers().prop_map(Name::epoch),
    ]
}

proptest! {
    #[test]
    fn a_name_is_its_text(name in names()) {
        prop_assert!(name.is_storable());
        prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn names_sort_as_their_text(a in names(), b in names()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn only_canonical_text_is_a_name(
        name in names(), at in any::<prop::sample::Index>(), new in "[0-9a-fA-F/.é-]{0,2}", cut in 0..2usize,
    ) {
        let mut text = name.to_string();
        let at = at.index(text.len() + 1);
        text.replace_range(at..(at + cut).min(text.len()), &new);
        if let Some(other) = Name::parse(&text) {
            prop_assert_eq!(other.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,100}") {
        if let Some(name) = Name::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}

#[test]
fn names_stand_as_the_format_says() {
    let id = ObjectId::from_bytes([0xab; 32]);
    let sid = SessionId::from_bytes([0x0f; 16]);
    let client = ClientId::from_bytes([0xf0; 16]);
    let (id_text, sid_text, client_text) = ("ab".repeat(32), "0f".repeat(16), "f0".repeat(16));
    for (name, text, family) in [
        (Name::config(), "config".to_owned(), Family::Config),
        (Name::slot(id), format!("keys/{id_text}"), Family::Keys),
        (Name::pack(id), format!("packs/ab/{id_text}"), Family::Packs),
        (Name::segment(id), format!("segments/{id_text}"), Family::Segments),
        (Name::snapshot(id), format!("snapshots/{id_text}"), Family::Snapshots),
        (Name::session(sid), format!("sessions/{sid_text}"), Family::Sessions),
        (Name::intent(sid, 1), format!("sessions/{sid_text}.intent-0000000000000001"), Family::Sessions),
        (Name::end(sid), format!("sessions/{sid_text}.end"), Family::Sessions),
        (Name::alive(sid, 20), format!("sessions/{sid_text}.alive-0000000000000020"), Family::Sessions),
        (Name::condemned(7), "condemned/0000000000000007".to_owned(), Family::Condemned),
        (Name::generation(123), "generations/0000000000000123".to_owned(), Family::Generations),
        (Name::log(client, 9), format!("log/{client_text}-0000000000000009"), Family::Log),
        (Name::epoch(1), "epochs/0000000000000001".to_owned(), Family::Epochs),
        (Name::parity(id), format!("parity/{id_text}"), Family::Parity),
        (Name::retention(3), "retention/0000000000000003".to_owned(), Family::Retention),
        (Name::run(sid, 2), format!("runs/{sid_text}-0000000000000002"), Family::Runs),
    ] {
        assert_eq!(name.to_string(), text);
        assert_eq!(Name::parse(&text), Some(name));
        assert_eq!(name.family(), family);
        assert_eq!(family.folder(), text.split_once('/').map(|(folder, _)| folder));
        assert_eq!(name.object_id().is_some(), text.contains(&id_text), "{text}");
        assert_eq!(name.session_id().is_some(), text.contains(&sid_text), "{text}");
        assert_eq!(name.number().is_some(), text.contains("00000000000"), "{text}");
    }
}

#[test]
fn what_is_nearly_a_name_is_foreign() {
    let id = "ab".repeat(32);
    let sid = "0f".repeat(16);
    for text in [
        "".to_owned(),
        "Config".to_owned(),
        "config/".to_owned(),
        "/config".to_owned(),
        "tmp/config".to_owned(),
        "keys".to_owned(),
        "keys/".to_owned(),
        format!("keys/{}", id.to_uppercase()),
        format!("keys//{id}"),
        format!("./keys/{id}"),
        format!("packs/{id}"),
        format!("packs/ac/{id}"),
        format!("packs/a/{id}"),
        format!("packs//{id}"),
        format!("packs/aba/{id}"),
        format!("packs/{id}/{id}"),
        format!("packs/ab/{id}/"),
        format!("snapshots/{id}.tmp"),
        "generations/0000000000000000".to_owned(),
        "generations/1".to_owned(),
        "generations/+000000000000001".to_owned(),
        "generations/00000000000000001".to_owned(),
        format!("sessions/{sid}.end-0000000000000001"),
        format!("sessions/{sid}.intent"),
        format!("sessions/{sid}.intent-"),
        format!("sessions/{sid}."),
        format!("runs/{sid}"),
        format!("log/{sid}-000000000000000a"),
    ] {
        assert_eq!(Name::parse(&text), None, "{text:?}");
    }
}

#[test]
fn numbers_outside_the_format_are_not_storable() {
    for n in [0, Name::MAX_NUMBER + 1, u64::MAX] {
        assert!(!Name::generation(n).is_storable());
        assert!(!Name::alive(SessionId::from_bytes([1; 16]), n).is_storable());
        assert_eq!(Name::parse(&Name::generation(n).to_string()), None);
    }
    assert!(Name::generation(Name::MAX_NUMBER).is_storable());
}
