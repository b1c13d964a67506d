use super::*;

fn table() -> StoredTable {
    let id = Column {
        filled: Filled::Counted,
        nullable: false,
        ..Column::new("id", TypeClass::Integer, "int(11)")
    };
    let name = Column {
        default: Some("'x'".into()),
        collation: Some("utf8mb4_bin".into()),
        ..Column::new("name", TypeClass::Text, "varchar(80)")
    };
    let twice = Column { filled: Filled::Computed, ..Column::new("twice", TypeClass::Other, "int") };
    let mut schema = TableSchema::new(TableName::parse("db.t").unwrap(), vec![id, name, twice], &["id"]);
    schema.unique = vec![vec!["name".into(), "id".into()]];
    schema.create = "CREATE TABLE t".into();
    schema.after = vec![Object { kind: "index".into(), name: "n".into(), ddl: "CREATE INDEX n".into() }];
    StoredTable { schema, condition: Some("id > 7".into()) }
}

#[test]
fn schemas_are_read_as_they_were_written() {
    let table = table();
    let bytes = encode_table(&table).unwrap();
    assert_eq!(decode_table(table.schema.name.clone(), &bytes), Ok(table.clone()));
    for len in 0..bytes.len() {
        assert!(decode_table(table.schema.name.clone(), &bytes[..len]).is_err(), "{len} bytes of it");
    }
    for (at, wrong) in [(0, 2), (5, 0), (5, 16)] {
        let mut bytes = bytes.clone();
        bytes[at] = wrong;
        assert!(decode_table(table.schema.name.clone(), &bytes).is_err(), "byte {at} is {wrong}");
    }
    let end = TableEnd { rows: 300, counter: Some(u64::MAX) };
    assert_eq!(decode_end(&encode_end(&end, &[7; 32])), Ok((end, [7; 32])));
    let source = SourceSchema {
        engine: "mariadb".into(),
        version: "10.11".into(),
        facts: vec![("mode".into(), "strict".into())],
        before: table.schema.after.clone(),
        after: vec![],
        absent: vec!["gone".into()],
    };
    assert_eq!(decode_source(&encode_source(&source, 9).unwrap()), Ok((source, 9)));
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let cases: [fn(&mut TableSchema); 6] = [
        |schema| schema.columns.clear(),
        |schema| schema.columns[1].name = "id".into(),
        |schema| schema.key = vec!["nobody".into()],
        |schema| schema.key = vec!["id".into(), "id".into()],
        |schema| schema.columns[0].name = "x".repeat(MAX_NAME + 1),
        |schema| schema.create = "x".repeat(MAX_SCHEMA),
    ];
    for (at, change) in cases.into_iter().enumerate() {
        let mut table = table();
        change(&mut table.schema);
        let error = encode_table(&table).unwrap_err();
        assert_eq!(error.kind(), dedup_engine::error::Kind::Refused, "case {at}: {error}");
    }
}
