//! Containers with checksums and lengths: made, and mended after damage so that the parser behind
//! the container sees it.

use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Rewrites the checksum of every chunk of a PNG.
pub fn png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(head.try_into().expect("four bytes")) as usize;
        let Some(end) = at
            .checked_add(8 + length)
            .filter(|end| end + 4 <= bytes.len())
        else {
            return;
        };
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[at + 4..end]);
        bytes[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
}

/// Writes the header's length anew, as the place where the data begins (the first byte after the
/// last `}` of the header's end) may have moved.
pub fn safetensors(bytes: &mut [u8]) {
    let Some(text) = bytes.get(8..) else { return };
    // The header ends with `}` before binary data or spaces that pad it.
    let Some(end) = text.windows(2).position(|w| w == b"}}") else {
        return;
    };
    let length = (end + 2) as u64;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
}

/// Rewrites the checksum of every header block of a tar file, as far as the sizes lead.
pub fn tar(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + 512) {
        if block.iter().all(|&b| b == 0) {
            return;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&block[124..136])
            .ok()
            .and_then(|text| u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok());
        let Some(next) = size
            .and_then(|size| size.checked_next_multiple_of(512))
            .and_then(|size| usize::try_from(size).ok()?.checked_add(at + 512))
        else {
            return;
        };
        at = next;
    }
}

/// Tar files with a sparse member: the old kind, and PAX 0.1 and 1.0.
pub fn sparse_tars() -> [Vec<u8>; 3] {
    let mut old = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(8);
    let gnu = header.as_gnu_mut().expect("a GNU header");
    gnu.set_real_size(2048);
    gnu.sparse[0].set_offset(2040);
    gnu.sparse[0].set_length(8);
    old.append_data(&mut header, "a.jpg", &b"12345678"[..])
        .expect("a member");
    let pax = |keys: &[(&str, &str)], data: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        let keys = keys.iter().map(|(key, value)| (*key, value.as_bytes()));
        tar.append_pax_extensions(keys).expect("extensions");
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, "GNUSparseFile.1/a.jpg", data)
            .expect("a member");
        tar.into_inner().expect("a tar file")
    };
    let first = [
        ("GNU.sparse.name", "a.jpg"),
        ("GNU.sparse.size", "2048"),
        ("GNU.sparse.map", "512,4,1024,4"),
    ];
    let one = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "a.jpg"),
        ("GNU.sparse.realsize", "2048"),
    ];
    let mut data = b"1\n512\n4\n".to_vec();
    data.resize(512, 0);
    data.extend(b"1234");
    let old = old.into_inner().expect("a tar file");
    [old, pax(&first, b"12345678"), pax(&one, &data)]
}

/// A tar file of `members`; a name that ends in `/` is a folder.
pub fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        builder
            .append_data(&mut header, name, *data)
            .expect("a member");
    }
    builder.into_inner().expect("a tar file")
}

/// The record `data.pkl` of a file that torch.save wrote.
pub fn pickle_in(zip: &[u8]) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).expect("a zip archive");
    let mut bytes = Vec::new();
    for index in 0..archive.len() {
        let mut record = archive.by_index(index).expect("a record");
        if record.name().is_ok_and(|name| name.ends_with("/data.pkl")) {
            record.read_to_end(&mut bytes).expect("its bytes");
        }
    }
    bytes
}

/// What torch.save would write around `pickle`, with storages of zeros.
pub fn zip_around(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut record = |name: &str, data: &[u8]| {
        zip.start_file(name, stored).expect("a record");
        zip.write_all(data).expect("its bytes");
    };
    record("m/data.pkl", pickle);
    for storage in 0..16 {
        record(&format!("m/data/{storage}"), &[0; 256]);
    }
    zip.finish().expect("an archive").into_inner()
}

/// A safetensors file with one number under each of `names`.
pub fn shard(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let (start, end) = (4 * i, 4 * i + 4);
            format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{start},{end}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + 4 * names.len(), 0);
    bytes
}
