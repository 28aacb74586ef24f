//! The layout of the cache that `huggingface_hub` and `transformers` share, so that what they
//! fetched is found here and the other way round:
//! `models--ORG--NAME/{refs/<branch>, blobs/<etag>, snapshots/<commit>/<file>}`, a snapshot's
//! files being links to blobs.

use std::path::{Path, PathBuf};

/// What a repository holds; part of its folder's name and of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    Model,
    Dataset,
}

#[derive(Debug, Clone)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else
    /// `~/.cache/huggingface/hub`.
    pub fn from_env() -> Self {
        let root = set("HF_HUB_CACHE")
            .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| hf_home().join("hub"));
        HubCache { root }
    }

    pub fn at(root: PathBuf) -> Self {
        HubCache { root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of `ORG/NAME`.
    pub fn repo(&self, kind: RepoKind, repo: &str) -> PathBuf {
        let kind = match kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        };
        self.root
            .join(format!("{kind}--{}", repo.replace('/', "--")))
    }

    /// The commit that branch `main` was at when it was last fetched.
    pub fn main_commit(&self, kind: RepoKind, repo: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.repo(kind, repo).join("refs/main")).ok()?;
        let commit = text.trim();
        (!commit.is_empty()).then(|| commit.to_string())
    }

    /// The folder with the files of `main`, as fetched last.
    pub fn snapshot(&self, kind: RepoKind, repo: &str) -> Option<PathBuf> {
        let commit = self.main_commit(kind, repo)?;
        let folder = self.repo(kind, repo).join("snapshots").join(commit);
        folder.is_dir().then_some(folder)
    }
}

/// `$HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
pub fn hf_home() -> PathBuf {
    set("HF_HOME").unwrap_or_else(|| {
        let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        cache.unwrap_or_default().join("huggingface")
    })
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
