//! Random tables and rows: what was put back has the checksums of what was taken.

use super::records::{open, records, target};
use super::*;
use crate::records::testing::Stored;
use crate::records::tests::request;
use crate::records::{ImportOptions, ImportRequest, Selection, import};

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

const TYPES: [&str; 30] = [
    "TINYINT",
    "SMALLINT UNSIGNED",
    "INT",
    "BIGINT",
    "BIGINT UNSIGNED",
    "INT(9) UNSIGNED ZEROFILL",
    "DECIMAL(65,30)",
    "DECIMAL(10,0) UNSIGNED",
    "FLOAT",
    "DOUBLE",
    "BIT(1)",
    "BIT(37)",
    "YEAR",
    "DATE",
    "DATETIME",
    "DATETIME(6)",
    "TIMESTAMP(3)",
    "TIME(6)",
    "TIME",
    "VARCHAR(60)",
    "CHAR(20) COLLATE utf8mb4_bin",
    "VARCHAR(60) CHARACTER SET latin1",
    "VARCHAR(60) CHARACTER SET utf16",
    "VARBINARY(60)",
    "BINARY(17)",
    "UUID",
    "INET6",
    "ENUM('a','B','')",
    "SET('x','y','z')",
    "VARCHAR(60) CHARACTER SET utf8mb3 COLLATE utf8mb3_turkish_ci",
];
const LONG: [&str; 4] = ["TEXT", "LONGBLOB", "JSON", "POINT"];

/// A value that may or may not fit; what the server makes of it is what counts.
fn value(random: &mut Random, of: &str) -> String {
    if random.below(6) == 0 {
        return "NULL".into();
    }
    let number = random.next();
    match of.split(['(', ' ']).next().unwrap() {
        "POINT" => format!("Point({}, {}e-5)", number as i32, number as i16),
        "JSON" => format!("'{{\"k\": [{number}, \"ü{}\", null]}}'", number % 97),
        "UUID" => format!("'{number:016x}{:016x}'", random.next()),
        "INET6" => format!("'{:x}::{:x}'", number as u16, random.next() as u16),
        "DATE" | "DATETIME" | "TIMESTAMP" => {
            let (year, month, day) = (number % 10_000, random.below(13), random.below(32));
            format!(
                "'{year:04}-{month:02}-{day:02} {:02}:{:02}:59.{:06}'",
                number % 24,
                number % 60,
                number % 1_000_000
            )
        }
        "TIME" => {
            let sign = random.pick(&["", "-"]);
            format!(
                "'{sign}{}:{:02}:{:02}.{:06}'",
                number % 839,
                number % 60,
                number % 59,
                number % 1_000_000
            )
        }
        "ENUM" => random.pick(&["'a'", "'B'", "''"]).to_string(),
        "SET" => random.pick(&["'x'", "'x,z'", "''", "'y'"]).to_string(),
        "VARCHAR" | "CHAR" | "TEXT" => {
            let words = ["", " ", "a", "A ", "ß", "İi", "日本", "Ünï", "'", "\\", "\0", "\n", "\\'", "😀"];
            let text: String = (0..random.below(9)).map(|_| *random.pick(&words)).collect();
            let bytes: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("_utf8mb4 x'{bytes}'")
        }
        "VARBINARY" | "BINARY" | "LONGBLOB" => {
            let bytes: String =
                (0..random.below(60)).map(|_| format!("{:02x}", random.next() as u8)).collect();
            format!("x'{bytes}'")
        }
        "FLOAT" | "DOUBLE" => {
            format!("{:e}", f64::from_bits(number)).replace("NaN", "0").replace("inf", "1e308")
        }
        "BIT" => format!("b'{:b}'", number & 0x1f_ffff_ffff),
        "DECIMAL" => format!("{}{number}.{}", random.pick(&["", "-"]), random.next()),
        _ => format!("{}{}", random.pick(&["", "-"]), number >> random.below(64)),
    }
}

fn table(random: &mut Random, at: u64) -> String {
    let columns: Vec<&str> = (0..=random.below(7)).map(|_| *random.pick(&TYPES)).collect();
    let long: Vec<&str> = (0..random.below(3)).map(|_| *random.pick(&LONG)).collect();
    let keyed = usize::try_from(random.below(4)).unwrap().min(columns.len());
    let mut made: Vec<String> =
        columns.iter().chain(&long).enumerate().map(|(n, of)| format!("c{n} {of}")).collect();
    if keyed > 0 {
        let key: Vec<String> = (0..keyed).map(|n| format!("c{n}")).collect();
        let kind = random.pick(&["PRIMARY KEY", "UNIQUE KEY", "KEY"]);
        made.push(format!("{kind} ({})", key.join(", ")));
    }
    let engine = random.pick(&["InnoDB", "InnoDB", "MyISAM", "Aria"]);
    let mut sql =
        format!("CREATE TABLE t{at} ({}) ENGINE={engine} CHARACTER SET utf8mb4;\n", made.join(", "));
    for _ in 0..random.below(30) {
        let row: Vec<String> = columns.iter().chain(&long).map(|of| value(random, of)).collect();
        sql += &format!("INSERT IGNORE INTO t{at} VALUES ({});\n", row.join(", "));
    }
    sql
}

/// Shows what a query can see to differ in a table of which the checksum differs.
fn differences(server: &MariaDb, state: &str, from: &str, to: &str) -> String {
    let table = state.trim_start_matches("DB.").split_whitespace().next().unwrap_or_default();
    let exact = format!(
        "SELECT GROUP_CONCAT(IF(DATA_TYPE IN ('float', 'double', 'enum', 'set', 'bit'), CONCAT(COLUMN_NAME, '+0e0'), \
         CONCAT('HEX(', COLUMN_NAME, ')')) SEPARATOR ', ') FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = '{from}' AND TABLE_NAME = '{table}'"
    );
    let columns = server.sql(&exact);
    let rows = |database: &str| {
        let text = server.sql(&format!("SELECT {} FROM {database}.{table}", columns.trim()));
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    let (before, after) = (rows(from), rows(to));
    if before == after {
        return String::new();
    }
    format!("{before:?}\n{after:?}")
}

fn store(server: &MariaDb, database: &str) -> Stored {
    let (spec, around) = (records(mariadb(server, database)), around());
    Stored::of(Box::new(open(&spec, &around).unwrap()), &Selection::all()).unwrap()
}

/// Into nothing, then over itself: the server's own checksums, which also see what no query shows (the sign of a zero),
/// are those of the origin, and a second export is the same map.
#[test]
fn random_tables_come_back() {
    let server = MariaDb::shared();
    let mut random = Random(0x5eed_0005);
    for round in 0..3 {
        let (from, to) = (fresh(server), fresh(server));
        let tables: String = (0..30).map(|at| table(&mut random, at)).collect();
        server.sql(&format!("SET NAMES utf8mb4; SET sql_mode = 'ALLOW_INVALID_DATES'; SET time_zone = '+00:00'; USE {from};\n{tables}"));
        let stored = store(server, &from);
        let (spec, around) = (records(into(mariadb(server, &from), &to)), around());
        for time in 0..2 {
            let request = ImportRequest {
                options: ImportOptions { batch_rows: 7, ..request(Import::Replace).options },
                ..request(Import::Replace)
            };
            let target = target(&spec, &around).unwrap();
            let imported =
                import(&stored.reader(), &stored.exported.schema, Box::new(target), &request).unwrap();
            assert!(imported.tables == 30 && imported.rows > 150, "{imported:?}");
            let (before, after) = (server.state(&from), server.state(&to));
            for (mine, theirs) in before.lines().zip(after.lines()) {
                if mine != theirs {
                    let differs = differences(server, mine, &from, &to);
                    panic!("round {round}, time {time}: {mine} {theirs} {differs}");
                }
            }
            assert_eq!(before.lines().count(), after.lines().count());
            assert!(store(server, &to).entries == stored.entries, "round {round}, time {time}: another map");
        }
    }
}
