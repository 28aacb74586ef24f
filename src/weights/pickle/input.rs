//! The bytes of a pickle, taken from the front.

/// Longest pickle read. The pickle of a checkpoint holds names and shapes, not values: those of
/// released models are below 1 MiB.
pub const MAX_BYTES: usize = 32 << 20;

#[derive(Default)]
pub struct Input<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

type Taken<T> = Result<T, String>;

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input {
            bytes: &bytes[..bytes.len().min(MAX_BYTES)],
            at: 0,
        }
    }

    pub fn byte(&mut self) -> Taken<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn take(&mut self, n: usize) -> Taken<&'a [u8]> {
        let end = self
            .at
            .checked_add(n)
            .filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(match self.bytes.len() {
                MAX_BYTES => format!("it is longer than the {} MiB read here", MAX_BYTES >> 20),
                _ => "it ends in the middle; the file is truncated".into(),
            });
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Taken<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Bytes after their length, which is stored in `width` bytes.
    pub fn sized(&mut self, width: usize) -> Taken<&'a [u8]> {
        let mut length = [0; 8];
        length[..width].copy_from_slice(self.take(width)?);
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(|e| e.to_string())?;
        self.take(length)
    }

    pub fn line(&mut self) -> Taken<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&b| b == b'\n');
        let line = self.take(end.map_or(rest.len() + 1, |n| n + 1))?;
        std::str::from_utf8(&line[..line.len() - 1]).map_err(|_| "a name is not UTF-8".to_string())
    }
}
