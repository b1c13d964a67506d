//! What holds for every key, asked of the schema itself, so that no key can be forgotten.

use super::super::job::Job;
use super::super::platform::Platform;
use super::super::shape::{Field, Shape};
use super::super::{Manifest, Problems, json_schema};
use std::fmt::Write;

/// A table on the way to a key, and whether it is an array of tables.
type Step<'k> = (&'k str, bool);
/// The way from the top to a table.
type Way = Vec<Step<'static>>;

/// Returns the text that leads to a key: headers of tables, then `key = value` in the innermost one.
fn text_with(steps: &[Step<'_>], value: &str) -> String {
    let mut text = String::from("schema = 1\n");
    let (key, tables) = steps.split_last().unwrap();
    let mut header = String::new();
    for (table, is_list) in tables {
        let dot = if header.is_empty() { "" } else { "." };
        write!(header, "{dot}{table}").unwrap();
        let _ = if *is_list { writeln!(text, "[[{header}]]") } else { writeln!(text, "[{header}]") };
    }
    writeln!(text, "{} = {value}", key.0).unwrap();
    text
}

/// Calls `each` with the way to every table and its fields: names of tables, and whether they are arrays of tables.
fn each_table(shape: &Shape, each: &mut dyn FnMut(&[Step<'static>], &[Field])) {
    let mut waiting: Vec<(Way, &Shape, bool)> = vec![(Vec::new(), shape, false)];
    while let Some((way, shape, in_list)) = waiting.pop() {
        match shape {
            Shape::Table(fields) => {
                let mut way = way.clone();
                if let Some(last) = way.last_mut() {
                    last.1 = in_list;
                }
                each(&way, fields);
                for field in fields {
                    waiting.push(([&way[..], &[(field.key, false)]].concat(), &field.shape, false));
                }
            }
            Shape::List { item, .. } => waiting.push((way, item, true)),
            Shape::Any(shapes) => waiting.extend(shapes.iter().map(|shape| (way.clone(), shape, false))),
            _ => {}
        }
    }
}

/// A way to read a file, and what may stand in it.
type Kind = (fn(&str) -> Option<Problems>, Shape);

fn kinds() -> [Kind; 3] {
    [
        (|text| Manifest::parse("x", text.as_bytes()).err(), Manifest::shape()),
        (|text| Job::parse("x", text.as_bytes()).err(), Job::shape()),
        (|text| Platform::parse("x", text.as_bytes()).err(), Platform::shape()),
    ]
}

#[test]
fn a_wrong_type_is_told_at_every_key() {
    for (read, shape) in kinds() {
        let mut keys = 0;
        each_table(&shape, &mut |way, fields| {
            for field in fields {
                keys += 1;
                let steps = [way, &[(field.key, false)]].concat();
                // No key takes a moment in time.
                let text = text_with(&steps, "2026-11-21");
                let text = if steps.len() == 1 && field.key == "schema" {
                    "schema = 2026-11-21\n".into()
                } else {
                    text
                };
                let problems = read(&text).unwrap_or_else(|| panic!("accepted:\n{text}"));
                let line = u32::try_from(text.lines().count()).unwrap();
                let told = problems.list.iter().any(|problem| {
                    problem.place.line == line
                        && problem.message.contains("must be")
                        && problem.message.contains("datetime")
                });
                assert!(told, "{problems}\n{text}");
            }
        });
        assert!(keys > 30, "{keys} keys");
    }
}

#[test]
fn an_unknown_key_is_told_in_every_table_with_the_nearest_known_one() {
    for (read, shape) in kinds() {
        each_table(&shape, &mut |way, fields| {
            for field in fields {
                let typed = format!("{}x", field.key);
                let steps = [way, &[(typed.as_str(), false)]].concat();
                let problems = read(&text_with(&steps, "1")).unwrap();
                let problem =
                    problems.list.iter().find(|problem| problem.message.contains(&format!("`{typed}`")));
                let problem = problem.unwrap_or_else(|| panic!("{typed}: {problems}"));
                assert!(problem.message.starts_with("unknown key"), "{problems}");
                let help = problem.help.as_deref().unwrap();
                assert!(help.contains(&format!("`{}`", field.key)), "{typed}: {help}");
            }
        });
    }
}

#[test]
fn every_key_is_described_and_stands_in_the_guide() {
    let guide = include_str!("../../../MANIFEST.md");
    let mut missing = Vec::new();
    for (_, shape) in kinds() {
        shape.each_key(&mut |key, field| {
            assert!(field.doc.len() > 3 && field.doc.ends_with(['.', ')']), "{key}: {:?}", field.doc);
            if !["`{}`", "[{}]"].iter().any(|form| guide.contains(&form.replace("{}", field.key))) {
                missing.push(key.to_owned());
            }
        });
    }
    assert!(missing.is_empty(), "MANIFEST.md does not have {missing:?}");
}

#[test]
fn the_json_schema_says_the_same() {
    let schema = json_schema(&Manifest::shape(), "t");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["schema", "module"]));
    let source = &schema["properties"]["source"]["items"];
    assert_eq!(source["required"], serde_json::json!(["name", "driver"]));
    assert_eq!(source["properties"]["driver"]["enum"][0], "settings");
    assert_eq!(source["properties"]["batch"]["default"], 1000);
    assert_eq!(source["properties"]["transaction"]["default"], true);
    let hook = &schema["properties"]["hooks"]["properties"]["backup_pre"]["anyOf"];
    assert_eq!((&hook[0]["type"], &hook[1]["type"]), (&"object".into(), &"array".into()));
    assert_eq!(hook[0]["properties"]["timeout"]["default"], "30m");
    assert_eq!(schema["properties"]["x"]["type"], "object");
    assert!(schema["properties"]["x"].get("additionalProperties").is_none(), "[x] is free");
}
