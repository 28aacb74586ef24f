//! The stack machine.

use super::globals;
use super::input::{Input, MAX_BYTES};
use super::opcode as op;
use super::value::{Id, Node, Pickle};
use std::collections::HashMap;

/// Most values built or remembered; each costs memory, and an instruction of one byte builds one.
const MAX_NODES: usize = 4 << 20;
/// Most bytes and items that calls may copy: an instruction of one byte can copy a shared value
/// of any size.
const MAX_COPIED: usize = 4 * MAX_BYTES;
/// Longest dotted name of a class.
const MAX_NAME: usize = 512;

/// Reads the pickle at the start of `bytes`; what follows its STOP is left alone. The error is a
/// sentence without the file's name.
pub fn read(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine {
        input: Input::new(bytes),
        ..Machine::default()
    };
    machine.run().map_err(|reason| {
        format!(
            "the pickle is damaged at byte {}: {reason}",
            machine.input.at
        )
    })
}

#[derive(Default)]
pub(super) struct Machine<'a> {
    input: Input<'a>,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Stack heights of the open MARKs.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    copied: usize,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Pickle> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == op::STOP {
                let root = self.pop()?;
                return Ok(Pickle {
                    nodes: std::mem::take(&mut self.nodes),
                    root,
                    len: self.input.at,
                });
            }
            self.step(opcode)?;
        }
    }

    /// One instruction.
    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            op::PROTO => match self.input.byte()? {
                0..=5 => Ok(()),
                n => Err(format!("protocol {n} is not known")),
            },
            op::FRAME => self.input.take(8).map(drop),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.pop_mark().map(drop),
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            op::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![(key, value)])
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.insert(pairs(&items)?)
            }
            op::BINPUT => {
                let index = self.input.byte()?;
                self.remember(index.into())
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.input.array()?);
                self.remember(index)
            }
            op::MEMOIZE => self.remember(self.memo.len() as u32),
            op::BINGET => {
                let index = self.input.byte()?;
                self.recall(index.into())
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(self.input.array()?);
                self.recall(index)
            }
            op::REDUCE | op::NEWOBJ => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            op::NEWOBJ_EX => {
                let _keywords = self.pop()?;
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            op::BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                let copied = globals::set_state(&mut self.nodes, object, state);
                self.charge(copied)
            }
            _ => {
                let node = self.value(opcode)?;
                self.push(node)
            }
        }
    }

    /// The instructions that end in one new value.
    fn value(&mut self, opcode: u8) -> Step<Node> {
        let input = &mut self.input;
        Ok(match opcode {
            op::NONE => Node::None,
            op::NEWTRUE => Node::Bool(true),
            op::NEWFALSE => Node::Bool(false),
            op::BININT => Node::Int(i32::from_le_bytes(input.array()?).into()),
            op::BININT1 => Node::Int(input.byte()?.into()),
            op::BININT2 => Node::Int(u16::from_le_bytes(input.array()?).into()),
            op::INT | op::LONG => text_integer(input.line()?)?,
            op::LONG1 => long(input.sized(1)?),
            op::LONG4 => long(input.sized(4)?),
            op::FLOAT => {
                let line = input.line()?;
                Node::Float(
                    line.parse()
                        .map_err(|_| format!("`{line}` is not a number"))?,
                )
            }
            op::BINFLOAT => Node::Float(f64::from_be_bytes(input.array()?)),
            op::SHORT_BINSTRING => py2_str(input.sized(1)?),
            op::BINSTRING => py2_str(input.sized(4)?),
            op::SHORT_BINUNICODE => text(input.sized(1)?)?,
            op::BINUNICODE => text(input.sized(4)?)?,
            op::BINUNICODE8 => text(input.sized(8)?)?,
            op::SHORT_BINBYTES => Node::Bytes(input.sized(1)?.to_vec()),
            op::BINBYTES => Node::Bytes(input.sized(4)?.to_vec()),
            op::BINBYTES8 | op::BYTEARRAY8 => Node::Bytes(input.sized(8)?.to_vec()),
            op::EMPTY_DICT => Node::Dict(Vec::new()),
            op::EMPTY_LIST | op::EMPTY_TUPLE | op::EMPTY_SET => Node::Sequence(Vec::new()),
            op::LIST | op::TUPLE | op::FROZENSET => Node::Sequence(self.pop_mark()?),
            op::DICT => Node::Dict(pairs(&self.pop_mark()?)?),
            op::TUPLE1 => Node::Sequence(self.pop_n(1)?),
            op::TUPLE2 => Node::Sequence(self.pop_n(2)?),
            op::TUPLE3 => Node::Sequence(self.pop_n(3)?),
            op::GLOBAL => global(input.line()?, input.line()?)?,
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module.index()], &self.nodes[name.index()]) {
                    (Node::Str(module), Node::Str(name)) => global(module, name)?,
                    _ => return Err("a class is named by something that is not text".into()),
                }
            }
            op::BINPERSID => {
                let id = self.pop()?;
                globals::storage(&self.nodes, id)?
            }
            other => {
                return Err(format!(
                    "instruction 0x{other:02x} is not one that PyTorch writes (protocols 2 to 5)"
                ));
            }
        })
    }

    fn push(&mut self, node: Node) -> Step {
        self.check_count(self.nodes.len())?;
        self.stack.push(Id(self.nodes.len() as u32));
        self.nodes.push(node);
        Ok(())
    }

    fn check_count(&self, count: usize) -> Step {
        if count < MAX_NODES {
            Ok(())
        } else {
            Err(format!("it builds more than {MAX_NODES} values"))
        }
    }

    fn charge(&mut self, copied: usize) -> Step {
        self.copied = self.copied.saturating_add(copied);
        if self.copied <= MAX_COPIED {
            Ok(())
        } else {
            Err("it copies its own values without end".into())
        }
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Id> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err("a value is missing on its stack".into()),
        }
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing on its stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_n(&mut self, n: usize) -> Step<Vec<Id>> {
        if self.stack.len() < self.floor() + n {
            return Err("a value is missing on its stack".into());
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    fn extend(&mut self, items: &[Id]) -> Step {
        let list = self.top()?;
        match &mut self.nodes[list.index()] {
            Node::Sequence(list) => list.extend(items),
            Node::Opaque(_) => {}
            _ => return Err("items are appended to something that is not a list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, items: Vec<(Id, Id)>) -> Step {
        let dict = self.top()?;
        match &mut self.nodes[dict.index()] {
            Node::Dict(pairs) => pairs.extend(items),
            Node::Opaque(_) => {}
            _ => return Err("items are set in something that is not a dict".into()),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Step {
        let top = self.top()?;
        self.memo.insert(index, top);
        self.check_count(self.memo.len())
    }

    fn recall(&mut self, index: u32) -> Step {
        let id = self
            .memo
            .get(&index)
            .ok_or("it refers to a value that it has not built")?;
        self.stack.push(*id);
        Ok(())
    }

    fn call(&mut self, callable: Id, arguments: Id) -> Step {
        match globals::call(&self.nodes, callable, arguments)? {
            globals::Called::New(node) => {
                self.charge(node.copied())?;
                self.push(node)
            }
            globals::Called::Same(id) => {
                self.stack.push(id);
                Ok(())
            }
        }
    }
}

fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    if !items.len().is_multiple_of(2) {
        return Err("a dict has a key without a value".into());
    }
    Ok(items.chunks_exact(2).map(|kv| (kv[0], kv[1])).collect())
}

fn global(module: &str, name: &str) -> Step<Node> {
    if module.len() + name.len() > MAX_NAME {
        return Err(format!(
            "a class has a name of more than {MAX_NAME} letters"
        ));
    }
    Ok(Node::Global(format!("{module}.{name}")))
}

/// INT writes booleans as `00` and `01`; LONG ends in `L`.
fn text_integer(line: &str) -> Step<Node> {
    Ok(match line {
        "00" => Node::Bool(false),
        "01" => Node::Bool(true),
        _ => {
            let digits = line.trim_end_matches('L');
            Node::Int(
                digits
                    .parse()
                    .map_err(|_| format!("`{line}` is not an integer"))?,
            )
        }
    })
}

fn text(bytes: &[u8]) -> Step<Node> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?;
    Ok(Node::Str(text.to_string()))
}

/// Little-endian two's complement of any length.
fn long(bytes: &[u8]) -> Node {
    if bytes.len() > 8 {
        return Node::Long(bytes.to_vec());
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

/// A Python 2 `str`: text where it is UTF-8, bytes where it is not.
fn py2_str(bytes: &[u8]) -> Node {
    match std::str::from_utf8(bytes) {
        Ok(text) => Node::Str(text.to_string()),
        Err(_) => Node::Bytes(bytes.to_vec()),
    }
}
