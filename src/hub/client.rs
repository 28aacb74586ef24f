//! Requests to the hub.

use super::cache::{RepoKind, hf_home};
use super::failure::{Failure, patiently};
use crate::files::text;
use crate::{Error, Result};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use ureq::{Agent, AgentBuilder, Response};

const ENDPOINT: &str = "https://huggingface.co";
const MAX_REDIRECTS: usize = 5;
/// Longest answer read that is not a file.
const MAX_ANSWER: u64 = 64 << 20;

/// The hub, with the settings that `huggingface_hub` reads from the environment.
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    agent: Agent,
}

/// A branch as the hub lists it.
pub struct Revision {
    pub commit: String,
    pub files: Vec<String>,
}

/// One file of a commit.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    pub name: String,
    pub url: String,
    /// Names the contents; see `super::checksum`.
    pub etag: String,
    pub size: u64,
}

impl Hub {
    /// `HF_ENDPOINT`, `HF_TOKEN` (else the file of `huggingface-cli login`), `HF_HUB_OFFLINE`,
    /// and the usual proxy variables.
    ///
    /// # Errors
    /// When offline mode is on.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let on = |value: String| {
            matches!(
                value.to_ascii_uppercase().as_str(),
                "1" | "ON" | "YES" | "TRUE"
            )
        };
        if set("HF_HUB_OFFLINE").is_some_and(on) {
            return Err(Error::usage(
                "HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, or put the files where --weights and --data find them",
            ));
        }
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        Ok(Hub {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: set("HF_TOKEN")
                .or_else(|| set("HUGGING_FACE_HUB_TOKEN"))
                .or_else(stored_token),
            // Redirects are followed here: the token must not leave the hub's own host.
            agent: AgentBuilder::new()
                .redirects(0)
                .timeout_connect(Duration::from_secs(10))
                .timeout_read(Duration::from_secs(60))
                .try_proxy_from_env(true)
                .user_agent(concat!("radio-eval/", env!("CARGO_PKG_VERSION")))
                .build(),
        })
    }

    /// Commit and files of branch `main`.
    pub fn revision(&self, kind: RepoKind, repo: &str) -> Result<Revision> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let part = match kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        };
        let url = format!("{}/api/{part}/{repo}/revision/main", self.endpoint);
        let answer: Answer = patiently(repo, || {
            use std::io::Read;
            let response = self.follow("GET", &url, 0, repo)?;
            let mut text = Vec::new();
            let mut body = response.into_reader().take(MAX_ANSWER);
            body.read_to_end(&mut text).map_err(Failure::passing)?;
            serde_json::from_slice(&text).map_err(|e| {
                Failure::last(format!(
                    "{url}: not an answer of a Hugging Face hub ({e}); is HF_ENDPOINT right?"
                ))
            })
        })?;
        if !plain(&answer.sha) {
            return Err(Error::model(format!(
                "{url}: `{}` is not a commit",
                answer.sha
            )));
        }
        let files = answer.siblings.into_iter().map(|s| s.rfilename);
        Ok(Revision {
            commit: answer.sha,
            // Names become paths of this machine.
            files: files.filter(|name| is_relative(name)).collect(),
        })
    }

    /// Size and ETag of one file.
    pub fn file(&self, kind: RepoKind, repo: &str, commit: &str, name: &str) -> Result<RemoteFile> {
        let part = match kind {
            RepoKind::Model => "",
            RepoKind::Dataset => "datasets/",
        };
        let path: Vec<String> = name.split('/').map(escape).collect();
        let url = format!(
            "{}/{part}{repo}/resolve/{commit}/{}",
            self.endpoint,
            path.join("/")
        );
        let what = format!("{repo}/{name}");
        let response = patiently(&what, || self.request("HEAD", &url, 0, &what))?;
        let header = |names: [&str; 2]| names.iter().find_map(|n| response.header(n));
        let etag = header(["x-linked-etag", "etag"]).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        let size = header(["x-linked-size", "content-length"]).and_then(|s| s.parse().ok());
        match size {
            Some(size) if plain(etag) => Ok(RemoteFile {
                name: name.to_string(),
                etag: etag.to_string(),
                url,
                size,
            }),
            _ => Err(Error::model(format!(
                "{what}: the server tells neither size nor ETag; is HF_ENDPOINT a Hugging Face hub?"
            ))),
        }
    }

    /// The file's bytes from `start` on; `what` is its `ORG/NAME/FILE` for messages.
    pub(super) fn open(
        &self,
        file: &RemoteFile,
        start: u64,
        what: &str,
    ) -> Result<Response, Failure> {
        self.follow("GET", &file.url, start, what)
    }

    /// A request whose redirects are followed.
    fn follow(&self, method: &str, url: &str, start: u64, what: &str) -> Result<Response, Failure> {
        let mut url = url.to_string();
        for _ in 0..MAX_REDIRECTS {
            let response = self.request(method, &url, start, what)?;
            if !(300..400).contains(&response.status()) {
                return Ok(response);
            }
            let to = response.header("location").unwrap_or_default();
            url = match to.starts_with('/') {
                true => format!("{}{to}", self.endpoint),
                false => to.to_string(),
            };
        }
        Err(Failure::last(format!("{what}: too many redirects")))
    }

    /// One request; redirects are handed back, other statuses than success are failures.
    fn request(
        &self,
        method: &str,
        url: &str,
        start: u64,
        what: &str,
    ) -> Result<Response, Failure> {
        let mut request = self
            .agent
            .request(method, url)
            .set("Accept-Encoding", "identity");
        if start > 0 {
            request = request.set("Range", &format!("bytes={start}-"));
        }
        let own = url
            .strip_prefix(&self.endpoint)
            .is_some_and(|rest| rest.starts_with('/'));
        if let Some(token) = self.token.as_ref().filter(|_| own) {
            request = request.set("Authorization", &format!("Bearer {token}"));
        }
        match request.call() {
            Ok(response) => Ok(response),
            Err(ureq::Error::Status(status, response)) => {
                Err(self.refusal(status, &response, what))
            }
            Err(ureq::Error::Transport(e)) => Err(Failure::passing(match e.message() {
                Some(message) => format!("{} ({message})", e.kind()),
                None => e.kind().to_string(),
            })),
        }
    }

    fn refusal(&self, status: u16, response: &Response, what: &str) -> Failure {
        let page = format!(
            "{}/{}",
            self.endpoint,
            what.splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
        );
        match status {
            401 | 403 => Failure::last(format!(
                "{what}: the hub refuses access (HTTP {status}); {} and accept the terms at {page}",
                match self.token {
                    Some(_) => "the token may not be valid for it: check HF_TOKEN,",
                    None =>
                        "it may be gated or not exist: set HF_TOKEN (or run `huggingface-cli login`)",
                }
            )),
            404 => Failure::last(format!(
                "{what}: not on the hub (HTTP 404, {})",
                self.endpoint
            )),
            408 | 429 | 500..=599 => {
                let wait = response
                    .header("retry-after")
                    .and_then(|s| s.trim().parse().ok());
                let reason = match status {
                    429 => "the hub asks for fewer requests (HTTP 429); with HF_TOKEN set it allows more".to_string(),
                    _ => format!("the server fails (HTTP {status})"),
                };
                Failure::Passing(reason, wait.map(Duration::from_secs))
            }
            _ => Failure::last(format!("{what}: HTTP {status}")),
        }
    }
}

/// The token that `huggingface-cli login` keeps.
fn stored_token() -> Option<String> {
    let path =
        std::env::var_os("HF_TOKEN_PATH").map_or_else(|| hf_home().join("token"), PathBuf::from);
    let token = text::read(&path).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_string())
}

/// Whether a name of the server's can be the name of a file here.
fn plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Whether a file of a repository stays inside the folder it is put in.
fn is_relative(name: &str) -> bool {
    !name.contains('\\') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Percent-encodes one part of a path (RFC 3986, unreserved characters stay).
fn escape(part: &str) -> String {
    let mut escaped = String::new();
    for byte in part.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => escaped.push(b as char),
            b => escaped += &format!("%{b:02X}"),
        }
    }
    escaped
}
