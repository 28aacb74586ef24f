//! Links inside a tar file: they stand for the files they lead to.

use super::LeftOut;
use super::archive::Member;
use std::collections::BTreeMap;

/// Links that lead to links are followed this often.
const MOST_STEPS: usize = 40;
/// Files that links to folders may add, so that links in a circle cannot fill the memory.
const MOST_FILES: usize = 10_000_000;

pub struct Link {
    pub name: String,
    /// As stored: of a hard link from the archive's top, of a symbolic link from its own folder.
    pub target: String,
    /// The tar inside the tar that it lies in (`n01440764/`), or empty.
    pub prefix: String,
    pub symbolic: bool,
}

impl Link {
    /// The target's name in the tree; `None` where it lies outside.
    fn target(&self) -> Option<String> {
        let folder = match self.symbolic {
            true if self.target.starts_with('/') => return None,
            true => self.name.rsplit_once('/').map_or("", |(folder, _)| folder),
            false => self.prefix.trim_end_matches('/'),
        };
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in self.target.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop()?;
                }
                part => parts.push(part),
            }
        }
        Some(parts.join("/"))
    }
}

/// The members (each name once) with a member for each file that a link leads to.
pub fn resolve(members: Vec<Member>, links: Vec<Link>, left_out: &mut LeftOut) -> Vec<Member> {
    if links.is_empty() {
        return members;
    }
    let mut files: BTreeMap<String, _> = members.into_iter().collect();
    let mut open = links;
    for _ in 0..MOST_STEPS {
        let mut left = Vec::new();
        let before = open.len();
        for link in open {
            match link_target(&files, &link) {
                Some(members) => files.extend(members),
                None => left.push(link),
            }
        }
        open = left;
        if open.is_empty() || open.len() == before || files.len() > MOST_FILES {
            break;
        }
    }
    for link in open {
        left_out.push("links that lead to no file of the archive", &link.name);
    }
    files.into_iter().collect()
}

/// The file a link leads to, or all files of the folder.
fn link_target<S: Clone>(files: &BTreeMap<String, S>, link: &Link) -> Option<Vec<(String, S)>> {
    let target = link.target()?;
    if let Some(span) = files.get(&target) {
        return Some(vec![(link.name.clone(), span.clone())]);
    }
    let folder = format!("{target}/");
    // A link to a folder that it lies in would never end.
    if link.name.starts_with(&folder) || target.is_empty() {
        return None;
    }
    let below: Vec<(String, S)> = files
        .range(folder.clone()..)
        .take_while(|(name, _)| name.starts_with(&folder))
        .map(|(name, span)| {
            (
                format!("{}/{}", link.name, &name[folder.len()..]),
                span.clone(),
            )
        })
        .collect();
    (!below.is_empty()).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tree::archive::Span;

    fn names(links: &[(&str, &str, bool)]) -> (Vec<String>, Option<String>) {
        let span = Span {
            archive: 0,
            offset: 0,
            len: 1,
            extents: None,
        };
        let members = ["a/1.jpg", "a/2.jpg"].map(|name| (name.to_string(), span.clone()));
        let links = links.iter().map(|&(name, target, symbolic)| Link {
            name: name.to_string(),
            target: target.to_string(),
            prefix: String::new(),
            symbolic,
        });
        let mut left_out = LeftOut::default();
        let files = resolve(members.to_vec(), links.collect(), &mut left_out);
        (
            files.into_iter().map(|f| f.0).collect(),
            left_out.sentence(),
        )
    }

    #[test]
    fn links_to_files_folders_and_links() {
        let (files, left_out) = names(&[
            ("b/hard.jpg", "a/1.jpg", false),
            ("b/chain.jpg", "soft.jpg", true),
            ("b/soft.jpg", "../a/2.jpg", true),
            ("c", "a", true),
        ]);
        let expected = [
            "a/1.jpg",
            "a/2.jpg",
            "b/chain.jpg",
            "b/hard.jpg",
            "b/soft.jpg",
        ];
        assert_eq!(&files[..5], expected);
        assert_eq!(&files[5..], ["c/1.jpg", "c/2.jpg"]);
        assert_eq!(left_out, None);
    }

    #[test]
    fn links_out_and_in_circles_are_told() {
        let (files, left_out) = names(&[
            ("out.jpg", "../../etc/passwd", true),
            ("absolute.jpg", "/etc/passwd", true),
            ("round.jpg", "round.jpg", true),
            ("a/self", "../a", true),
        ]);
        assert_eq!(files, ["a/1.jpg", "a/2.jpg"]);
        assert!(
            left_out
                .unwrap()
                .starts_with("links that lead to no file of the archive: 4")
        );
    }
}
