//! A hub on the loopback, as far as downloads need one, with faults on demand.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with the downloads of a file.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// The connection closes after this many bytes, this often.
    Cut { after: usize, times: usize },
    /// Only the first this many bytes exist, though more were announced; ranges are ignored.
    NoRanges { after: usize },
    /// Other bytes than announced, this often.
    Wrong { times: usize },
    /// More bytes than announced.
    Longer,
    /// This status for every request, with `Retry-After: 1`.
    Status(u16, usize),
}

#[derive(Default)]
pub struct State {
    pub files: HashMap<String, Vec<u8>>,
    pub faults: HashMap<String, Fault>,
    pub claimed_size: HashMap<String, u64>,
    /// Request lines with range and authorisation, in order.
    pub log: Vec<String>,
}

pub struct Server {
    pub endpoint: String,
    pub state: Arc<Mutex<State>>,
}

impl Server {
    /// `files` by name; each is kept in large-file storage, and so is served by a redirect to
    /// another host name.
    pub fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        for (name, bytes) in files {
            state
                .lock()
                .unwrap()
                .files
                .insert(name.to_string(), bytes.clone());
        }
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, stream) = (shared.clone(), stream.unwrap());
                std::thread::spawn(move || serve(stream, &state, port));
            }
        });
        Server {
            endpoint: format!("http://127.0.0.1:{port}"),
            state,
        }
    }

    pub fn fault(&self, file: &str, fault: Fault) {
        self.state.lock().unwrap().faults.insert(file.into(), fault);
    }

    pub fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// One request per connection. Errors mean that the client hung up.
fn serve(mut stream: TcpStream, state: &Mutex<State>, port: u16) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_string());
    }
    let mut state = state.lock().unwrap();
    let range = headers.get("range").cloned().unwrap_or_default();
    let token = headers.get("authorization").cloned().unwrap_or_default();
    state.log.push(format!("{first} {range} {token}"));
    let mut parts = first.split(' ');
    let (method, path) = (parts.next()?, parts.next()?);
    let name = path.rsplit('/').next()?.to_string();
    let fault = state.faults.get(&name).or(state.faults.get("*")).copied();
    if let Some(Fault::Status(status, times)) = fault
        && times > 0
    {
        state
            .faults
            .insert(name.clone(), Fault::Status(status, times - 1));
        let head = format!(
            "HTTP/1.1 {status} No\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return stream.write_all(head.as_bytes()).ok();
    }
    if path.starts_with("/api/") {
        let names: Vec<String> = state
            .files
            .keys()
            .map(|n| format!(r#"{{"rfilename":"{n}"}}"#))
            .collect();
        let body = format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, names.join(","));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        return stream.write_all(head.as_bytes()).ok();
    }
    let Some(bytes) = state.files.get(&name).cloned() else {
        let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(head.as_bytes()).ok();
    };
    if !path.starts_with("/cdn/") {
        let size = state
            .claimed_size
            .get(&name)
            .copied()
            .unwrap_or(bytes.len() as u64);
        let head = format!(
            "HTTP/1.1 302 Found\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {size}\r\n\
             Location: http://localhost:{port}/cdn/{name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            sha256(&bytes)
        );
        return stream.write_all(head.as_bytes()).ok();
    }
    assert_eq!(method, "GET", "storage is only read");
    let start = range
        .strip_prefix("bytes=")
        .and_then(|r| r.trim_end_matches('-').parse().ok());
    let (mut start, mut body, mut end) = (start.unwrap_or(0usize), bytes.clone(), bytes.len());
    match fault {
        Some(Fault::Cut { after, times }) if times > 0 => {
            let left = Fault::Cut {
                after,
                times: times - 1,
            };
            state.faults.insert(name.clone(), left);
            end = (start + after).min(end);
        }
        Some(Fault::NoRanges { after }) => {
            state.faults.remove(&name);
            // The next answer ignores the range.
            state
                .faults
                .insert(name.clone(), Fault::NoRanges { after: usize::MAX });
            start = 0;
            end = end.min(after);
        }
        Some(Fault::Wrong { times }) if times > 0 => {
            state
                .faults
                .insert(name.clone(), Fault::Wrong { times: times - 1 });
            body[0] ^= 0xff;
        }
        Some(Fault::Longer) => {
            body.extend([0; 100]);
            end = body.len();
        }
        _ => {}
    }
    drop(state);
    let ranged = start > 0;
    let status = if ranged {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    let total = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{total}\r\nConnection: close\r\n\r\n",
        total - start,
        total - 1
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body[start..end]).ok()
}
