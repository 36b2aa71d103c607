//! The files that belong to the pages.

use std::{collections::BTreeSet, fs, path::Path};

use crate::page::{LogOut, Markup, asset, assets::ASSETS, assets::SHELL, shell};

/// The pages load within a moment, also over a slow connection.
const OCTETS_MAX: usize = 60 * 1_024;

fn texts() -> Vec<(&'static str, &'static str)> {
    let files = ASSETS
        .iter()
        .map(|it| (it.name, str::from_utf8(it.octets).unwrap()));
    files.chain([("page.html", SHELL)]).collect()
}

#[test]
fn every_file_is_in_the_table() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/assets");
    let files = fs::read_dir(directory).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = texts().iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, known);
    let octets: usize = texts().iter().map(|(_, text)| text.len()).sum();
    assert!(octets <= OCTETS_MAX, "{octets}");
}

/// A text of a mail becomes an element or a script in no other way than by one of these.
#[test]
fn no_file_makes_html_or_scripts_from_texts() {
    let forbidden = [
        "innerhtml",
        "outerhtml",
        "insertadjacenthtml",
        "sethtml",
        "domparser",
        "createcontextualfragment",
        "document.write",
        "eval(",
        "function(",
        "new function",
        "settimeout('",
        "settimeout(\"",
        "import(",
        "srcdoc",
        "javascript:",
        " style=",
        "http://",
        "https://",
    ];
    for (name, text) in texts() {
        let text = text.to_lowercase();
        // A name, which is not loaded.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for word in forbidden {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
    let shell = SHELL.to_lowercase();
    for attribute in shell.split_ascii_whitespace() {
        assert!(!attribute.starts_with("on"), "{attribute}");
    }
    assert!(!shell.contains("<style") && shell.matches("<script").count() == 1);
}

#[test]
fn a_file_is_found_by_its_name_alone() {
    let names: BTreeSet<&str> = ASSETS.iter().map(|it| it.name).collect();
    let versions: BTreeSet<u64> = ASSETS.iter().map(crate::page::Asset::version).collect();
    assert!(names.len() == ASSETS.len() && versions.len() == ASSETS.len());
    for it in ASSETS {
        assert_eq!(asset(it.name), Some(it));
        let path = Path::new(it.name);
        let end = path.extension().unwrap().to_str().unwrap();
        let kind = match end {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(it.media_type, kind, "{}", it.name);
    }
    for name in ["", "page.html", "APP.JS", "../app.js", "app.js/", "tests"] {
        assert_eq!(asset(name), None, "{name}");
    }
}

#[test]
fn the_shell_has_its_links_and_what_is_put_into_it() {
    // What comes from a mail may look like a mark.
    let plain = Markup::new()
        .tags("<p>")
        .text("{{base}} {{noscript}} </noscript>");
    for (base, log_out) in [("", LogOut::Offered), ("../", LogOut::Absent)] {
        let page = shell(base, &plain, log_out);
        assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
        let inside = "<noscript><p>{{base}} {{noscript}} &lt;/noscript&gt;";
        assert_eq!(page.matches(inside).count(), 1, "{page}");
        let forms = page
            .matches("<form method=\"post\" action=\"logout\">")
            .count();
        assert_eq!(forms, if log_out == LogOut::Offered { 2 } else { 0 });
        assert_eq!(page.matches("{{").count(), 2);
        for name in ["app.js", "style.css", "icon.svg"] {
            assert!(page.contains(&format!("\"{base}assets/{name}\"")), "{name}");
        }
    }
}
