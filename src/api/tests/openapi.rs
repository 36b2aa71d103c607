//! The description of the API says what the API does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{LETTER, World};
use crate::{
    api::{Audience, Route, Verb, openapi::DESCRIPTION, routes},
    http::Method,
};

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

/// The object that a reference leads to.
fn resolved<'a>(description: &'a Value, object: &'a Value) -> &'a Value {
    let Some(reference) = object.get("$ref") else {
        return object;
    };
    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
    description.pointer(pointer).unwrap()
}

/// What of `value` is not as `schema` says.
fn faults(description: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let schema = resolved(description, schema);
    if let Some(choices) = schema.get("oneOf") {
        let choices = choices.as_array().unwrap().iter();
        let mut faults: Vec<_> = choices.map(|it| faults(description, it, value)).collect();
        faults.sort_by_key(Vec::len);
        return faults.remove(0);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    let may_be = types == kind || types.as_array().is_some_and(|it| it.contains(&kind.into()));
    if !may_be {
        return vec![format!("{value} is not {types}")];
    }
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(faults(description, &schema["items"], item));
    }
    for (name, item) in value.as_object().into_iter().flatten() {
        let known = schema.get("properties").and_then(|it| it.get(name));
        match known.or(schema.get("additionalProperties")) {
            Some(schema) => found.extend(faults(description, schema, item)),
            None => found.push(format!("{name} is not described")),
        }
    }
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{name} is missing"));
        }
    }
    found
}

#[test]
fn it_has_exactly_the_paths_of_the_router() {
    let description = description();
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for verb in operations.as_object().unwrap().keys() {
            described.insert(format!("{verb} {path}"));
        }
    }
    // The pages, and what belongs to them, are for browsers and may change at any time.
    let is_described = |route: &&Route| route.audience == Audience::Programs;
    let routes = routes().iter().filter(is_described).map(|route| {
        let verb = match route.verb {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Delete => "delete",
        };
        format!("{verb} {}", route.path)
    });
    let routes: BTreeSet<String> = routes.collect();
    let undescribed: Vec<_> = routes.difference(&described).collect();
    let missing: Vec<_> = described.difference(&routes).collect();
    assert!(
        undescribed.is_empty() && missing.is_empty(),
        "{undescribed:?} {missing:?}"
    );
}

#[test]
fn each_operation_names_the_parameters_of_its_path() {
    let description = description();
    for (path, operations) in description["paths"].as_object().unwrap() {
        let names = path
            .split('/')
            .filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
        let names: BTreeSet<&str> = names.collect();
        for operation in operations.as_object().unwrap().values() {
            let parameters = operation.get("parameters").and_then(Value::as_array);
            let parameters = parameters.into_iter().flatten();
            let parameters = parameters.map(|it| resolved(&description, it));
            let of_path = parameters.filter(|it| it["in"] == "path");
            let of_path: BTreeSet<&str> = of_path.map(|it| it["name"].as_str().unwrap()).collect();
            assert_eq!(of_path, names, "{path}");
            for response in operation["responses"].as_object().unwrap().values() {
                let response = resolved(&description, response);
                assert!(response["description"].is_string(), "{path}");
            }
        }
    }
}

#[test]
fn the_answers_have_the_described_shapes() {
    let world = World::new();
    let description = description();
    let id = world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    let bare = world.deliver("\n", &["bob@a.example"]);
    let paths = description["paths"].as_object().unwrap();
    let mut n_compared = 0;
    for (path, operations) in paths {
        let responses = &operations["get"]["responses"];
        let Some(schema) = responses.pointer("/200/content/application~1json/schema") else {
            continue;
        };
        for id in [&id, &bare] {
            let values = [
                ("{id}", id.as_str()),
                ("{name}", "bob"),
                ("{address}", "bob"),
            ];
            let path = values.iter().fold(path.clone(), |path, (name, value)| {
                path.replace(name, value)
            });
            let is_search = path.ends_with("/search");
            let query = is_search.then_some("?kind=from&query=ann");
            let target = [path.as_str(), query.unwrap_or_default()].concat();
            let reply = world.get(&target).json();
            // Only a program reads the description itself.
            if path != "/api/openapi.json" {
                assert_eq!(
                    faults(&description, schema, &reply),
                    Vec::<String>::new(),
                    "{path}"
                );
                n_compared += 1;
            }
        }
    }
    assert!(n_compared >= 20, "{n_compared}");
    assert_eq!(world.get("/api/openapi.json").json(), description);
}

#[test]
fn what_is_described_as_lacking_is_refused() {
    let world = World::new();
    let description = description();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            let method = match verb.as_str() {
                "get" => Method::Get,
                "post" => Method::Post,
                "put" => Method::Put,
                _ => Method::Delete,
            };
            if operation["responses"].get("200").is_none() {
                world
                    .ask(method, path_with_values(path).as_str(), "")
                    .refused(501, "facteur has no");
            }
        }
    }
}

fn path_with_values(path: &str) -> String {
    path.replace(['{', '}'], "")
}
