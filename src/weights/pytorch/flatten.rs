//! Nested dicts of tensors as one list of dotted names: `{"teacher": {"backbone": {"w": t}}}` as
//! `teacher.backbone.w`.

use crate::weights::pickle::{Id, Node, Pickle};

/// Dicts inside dicts; a module tree has about ten.
const MAX_DEPTH: usize = 32;
/// Most values visited: shared dicts let a small pickle stand for endless names.
const MAX_VISITS: usize = 1 << 20;
/// Most bytes of all names together.
const MAX_NAMES: usize = 256 << 20;

/// The tensors and opaque objects under `root`, by their dotted names in the order of the file;
/// of equal names the last counts.
pub(super) fn values(pickle: &Pickle, root: Id) -> Result<Vec<(String, Id)>, String> {
    let mut found = Vec::new();
    walk(pickle, root, &mut |name, id| {
        found.push((name.to_string(), id));
        true
    })?;
    Ok(found)
}

/// Whether a tensor lies under `root`.
pub(super) fn holds_tensors(pickle: &Pickle, root: Id) -> bool {
    let is_tensor = |id: Id| matches!(pickle.node(id), Node::Tensor(_) | Node::OpaqueTensor(_));
    holds(pickle, root, is_tensor)
}

/// Whether a tensor or an object that may have been one lies under `root`.
pub(super) fn holds_values(pickle: &Pickle, root: Id) -> bool {
    holds(pickle, root, |_| true)
}

fn holds(pickle: &Pickle, root: Id, wanted: impl Fn(Id) -> bool) -> bool {
    let mut found = false;
    // A walk without end has found nothing within its bounds.
    let _ = walk(pickle, root, &mut |_, id| {
        found = wanted(id);
        !found
    });
    found
}

/// Shows every tensor and opaque object under `root` to `visit`, until that says to stop.
fn walk(pickle: &Pickle, root: Id, visit: &mut dyn FnMut(&str, Id) -> bool) -> Result<(), String> {
    let (mut visits, mut written) = (0, 0);
    // (dict, its prefix, the next pair)
    let mut stack = vec![(root, String::new(), 0)];
    while let Some((dict, prefix, at)) = stack.last_mut() {
        let Some(&(key, value)) = pickle.pairs(*dict).and_then(|pairs| pairs.get(*at)) else {
            stack.pop();
            continue;
        };
        *at += 1;
        visits += 1;
        let key = match pickle.node(key) {
            Node::Str(text) => text.clone(),
            Node::Int(number) => number.to_string(),
            _ => continue,
        };
        let name = format!("{prefix}{key}");
        written += name.len();
        if visits > MAX_VISITS || written > MAX_NAMES {
            return Err(format!("it holds more than {MAX_VISITS} nested values"));
        }
        match pickle.node(value) {
            Node::Tensor(_) | Node::OpaqueTensor(_) | Node::Opaque(_) | Node::Global(_) => {
                if !visit(&name, value) {
                    return Ok(());
                }
            }
            Node::Dict(_) | Node::Namespace(_) => {
                let open = stack.iter().any(|(dict, ..)| *dict == value);
                if !open && stack.len() < MAX_DEPTH {
                    stack.push((value, format!("{name}."), 0));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
