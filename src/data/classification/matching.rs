//! One numbering of classes for both splits, or an error that names what does not match.
//!
//! A plausible wrong number comes from here when labels of two splits mean different things, so
//! nothing is matched by guess: identifiers are equal (in NFC), or numbers are places in the other
//! split's order because the user says so or because they cover it exactly.

use super::classes::{self, CLASS_FILE, Class};
use super::draft::{Draft, Labels};
use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Classes that a data set may have. The largest public sets have some 20,000.
const MOST_CLASSES: usize = 1 << 20;

/// The classes in index order, and sentences about how they were found.
pub struct Matched {
    pub classes: Vec<Class>,
    pub notes: Vec<String>,
}

/// Settles one class list and turns the labels of every split into indices of it.
///
/// `given` is the user's class list. With `by_index`, numbers are places in the order of classes.
pub fn number(
    splits: [&mut Option<Draft>; 2],
    given: Option<Vec<Class>>,
    by_index: bool,
) -> Result<Matched> {
    let mut drafts: Vec<&mut Draft> = splits.into_iter().flatten().collect();
    for draft in &drafts {
        check_size(draft)?;
    }
    words_for_unequal_lists(&mut drafts, given.is_some());
    let mut notes = Vec::new();
    let listed = given.or_else(|| drafts.iter().find_map(|d| d.classes.clone()));
    let classes = match listed {
        Some(classes) => classes,
        None => seen(&drafts, by_index)?,
    };
    for draft in drafts {
        let labels = std::mem::replace(&mut draft.labels, Labels::None);
        draft.labels = match labels {
            Labels::None => Labels::None,
            Labels::Indices(indices) => Labels::Indices(within(draft, indices, &classes)?),
            Labels::Ids { ids, of } => {
                let (ids, of) = only_used(ids, of);
                let numbers = places(&draft.path, &ids, &classes, by_index, &mut notes)?;
                Labels::Indices(of.into_iter().map(|i| numbers[i as usize]).collect())
            }
        };
    }
    Ok(Matched { classes, notes })
}

fn check_size(draft: &Draft) -> Result<()> {
    let most = match &draft.labels {
        Labels::Indices(indices) => indices.iter().copied().enumerate().max_by_key(|&(_, i)| i),
        _ => None,
    };
    match most {
        Some((at, label)) if label as usize >= MOST_CLASSES => Err(Error::file(
            draft.path.join(draft.samples.key(at)),
            format!(
                "has label {label}, and at most {MOST_CLASSES} classes are possible; is that column the class? (--label-column)"
            ),
        )),
        _ => Ok(()),
    }
}

/// Where splits come with class lists of their own that differ, or where only one has words for
/// its classes, an index means something else in each: identifiers take the place of indices.
fn words_for_unequal_lists(drafts: &mut [&mut Draft], given: bool) {
    let lists: Vec<&Vec<Class>> = drafts.iter().filter_map(|d| d.classes.as_ref()).collect();
    let differ = lists.windows(2).any(|pair| pair[0] != pair[1]);
    let ids_elsewhere = drafts
        .iter()
        .any(|d| matches!(d.labels, Labels::Ids { .. }));
    if given || !(differ || ids_elsewhere) {
        return;
    }
    let listed = !lists.is_empty();
    for draft in drafts {
        let Labels::Indices(indices) = &draft.labels else {
            continue;
        };
        let ids: Vec<String> = match &draft.classes {
            Some(list) if indices.iter().all(|&i| (i as usize) < list.len()) => {
                list.iter().map(|class| class.id.clone()).collect()
            }
            // Without any list a number is an identifier like others.
            None if !listed => (0..=indices.iter().copied().max().unwrap_or(0))
                .map(|i| i.to_string())
                .collect(),
            _ => continue,
        };
        draft.labels = Labels::Ids {
            ids,
            of: indices.clone(),
        };
        if differ {
            draft.classes = None;
        }
    }
}

/// Identifiers (or numbers) of the classes that a split has images of.
fn used(draft: &Draft) -> Option<BTreeSet<String>> {
    match &draft.labels {
        Labels::None => None,
        Labels::Ids { ids, of } => {
            let of: BTreeSet<&u32> = of.iter().collect();
            Some(of.into_iter().map(|&i| ids[i as usize].clone()).collect())
        }
        Labels::Indices(indices) => {
            let indices: BTreeSet<&u32> = indices.iter().collect();
            Some(indices.into_iter().map(u32::to_string).collect())
        }
    }
}

/// The identifiers that some sample has, and the samples' places among those.
fn only_used(ids: Vec<String>, of: Vec<u32>) -> (Vec<String>, Vec<u32>) {
    let used: BTreeSet<u32> = of.iter().copied().collect();
    let place: HashMap<u32, u32> = used.iter().copied().zip(0..).collect();
    let ids = used.iter().map(|&i| ids[i as usize].clone()).collect();
    (ids, of.into_iter().map(|i| place[&i]).collect())
}

/// Without any class list: the classes of the train split (or of the only one), of which the other
/// may leave some out but to which it adds none.
fn seen(drafts: &[&mut Draft], by_index: bool) -> Result<Vec<Class>> {
    let labelled: Vec<(&Path, &Labels, BTreeSet<String>)> = drafts
        .iter()
        .filter_map(|d| Some((d.path.as_path(), &d.labels, used(d)?)))
        .collect();
    let own = |labels: &Labels, ids: &BTreeSet<String>| match labels {
        Labels::Indices(indices) => {
            let count = indices.iter().max().map_or(0, |&i| i + 1);
            (0..count).map(Class::from_index).collect()
        }
        _ => classes::from_ids(ids.iter().map(String::as_str)),
    };
    let (train, val) = match labelled.as_slice() {
        [] => return Ok(Vec::new()),
        [(_, labels, ids)] => return Ok(own(labels, ids)),
        [train, val, ..] => (train, val),
    };
    let classes: Vec<Class> = own(train.1, &train.2);
    let known: BTreeSet<&str> = classes.iter().map(|class| class.id.as_str()).collect();
    let strange: Vec<&String> = val
        .2
        .iter()
        .filter(|id| !known.contains(id.as_str()))
        .collect();
    let Some(first) = strange.first() else {
        return Ok(classes);
    };
    if are_places(&val.2, &classes, by_index) {
        return Ok(classes);
    }
    let numbers = |ids: &BTreeSet<String>| ids.iter().all(|id| classes::is_number(id));
    let hint = match (numbers(&train.2), numbers(&val.2)) {
        (false, true) => {
            "the numbers are taken as places in the order of the other split's classes if they are 0 to their number less 1, or with --labels-by-index; else give a mapping to the same classes (--mapping)"
        }
        (true, false) => {
            "one split has numbers, the other has names; give both the same classes (--mapping)"
        }
        _ => {
            "name the same data set for both, rename the folders, or give a mapping (--mapping); an image of a class without train images can never be classified right"
        }
    };
    Err(Error::file(
        val.0,
        format!(
            "{} of its {} classes are not among the {} of {}: here `{first}`{}, there {}; {hint}",
            strange.len(),
            val.2.len(),
            train.2.len(),
            train.0.display(),
            if strange.len() > 1 { " and others" } else { "" },
            examples(&classes),
        ),
    ))
}

fn examples(classes: &[Class]) -> String {
    let shown: Vec<String> = classes
        .iter()
        .take(3)
        .map(|c| format!("`{}`", c.id))
        .collect();
    match classes.len() > 3 {
        true => format!("{}, ...", shown.join(", ")),
        false => shown.join(", "),
    }
}

/// Whether identifiers are numbers that mean places in a list of other identifiers: told so, or
/// covering it exactly.
fn are_places(ids: &BTreeSet<String>, classes: &[Class], by_index: bool) -> bool {
    let numbers: Option<BTreeSet<usize>> = ids
        .iter()
        .map(|id| id.parse().ok().filter(|_| classes::is_number(id)))
        .collect();
    let Some(numbers) = numbers else {
        return false;
    };
    let other = classes.iter().any(|class| !classes::is_number(&class.id));
    let all = numbers.len() == classes.len() && numbers.last() == Some(&(classes.len() - 1));
    other && (by_index || all)
}

/// The index of each identifier in the list.
fn places(
    path: &Path,
    ids: &[String],
    classes: &[Class],
    by_index: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<u32>> {
    let index: HashMap<&str, u32> = (0..)
        .zip(classes)
        .map(|(i, c)| (c.id.as_str(), i))
        .collect();
    let exact: Option<Vec<u32>> = ids
        .iter()
        .map(|id| index.get(id.as_str()).copied())
        .collect();
    if let Some(exact) = exact {
        return Ok(exact);
    }
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    if are_places(&set, classes, by_index) {
        notes.push(format!(
            "{}: the class numbers {} to {} are taken as places in the order of the {} classes ({})",
            path.display(),
            ids.iter().filter_map(|id| id.parse::<u32>().ok()).min().unwrap_or(0),
            ids.iter().filter_map(|id| id.parse::<u32>().ok()).max().unwrap_or(0),
            classes.len(),
            examples(classes)
        ));
        let place = |id: &String| {
            let place: u32 = id
                .parse()
                .ok()
                .filter(|&i: &u32| (i as usize) < classes.len())?;
            Some(place)
        };
        let places = ids
            .iter()
            .map(|id| place(id).ok_or_else(|| unknown(path, id, classes)));
        return places.collect();
    }
    if let Some(by_name) = by_names(ids, classes) {
        notes.push(format!(
            "{}: classes were found by their names, not by their identifiers",
            path.display()
        ));
        return Ok(by_name);
    }
    let strange = ids.iter().find(|id| !index.contains_key(id.as_str()));
    Err(unknown(path, strange.map_or("", String::as_str), classes))
}

/// Every identifier is a name of exactly one class.
fn by_names(ids: &[String], classes: &[Class]) -> Option<Vec<u32>> {
    let mut by_name: HashMap<&str, Option<u32>> = HashMap::new();
    for (index, class) in (0..).zip(classes) {
        for name in &class.names {
            let entry = by_name.entry(name.as_str()).or_insert(Some(index));
            if *entry != Some(index) {
                *entry = None;
            }
        }
    }
    ids.iter()
        .map(|id| by_name.get(id.as_str()).copied().flatten())
        .collect()
}

/// Indices as they are, if there are that many classes.
fn within(draft: &Draft, indices: Vec<u32>, classes: &[Class]) -> Result<Vec<u32>> {
    match indices.iter().position(|&i| i as usize >= classes.len()) {
        None => Ok(indices),
        Some(bad) => Err(Error::file(
            draft.path.join(draft.samples.key(bad)),
            format!(
                "has label {}, but there are {} classes (0 to {})",
                indices[bad],
                classes.len(),
                classes.len() as i64 - 1
            ),
        )),
    }
}

fn unknown(path: &Path, id: &str, classes: &[Class]) -> Error {
    Error::file(
        path,
        format!(
            "class `{id}` is not in the list of {} classes ({}); add it to {CLASS_FILE}, or remove its images",
            classes.len(),
            examples(classes)
        ),
    )
}
