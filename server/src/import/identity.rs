//! The name under which the server knows how much of a file is loaded.
//!
//! It is made of the file's absolute path, its length, its first and last bytes, and the table as it is
//! now: a table that was dropped and made again is another one, and gets the rows again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ring::digest;

use crate::import::error::ImportError;
use crate::import::pg::Table;

/// So much of the beginning and of the end counts.
const EDGE_BYTES: u64 = 64 << 10;

/// Hexadecimal digits of the digest in the name.
const DIGITS: usize = 24;

/// The longest part of the file's name in it.
const FILE_NAME_BYTES_MAX: usize = 80;

/// The name of a file's producer.
pub(super) fn producer_name(path: &Path, table: Option<&Table>) -> Result<String, ImportError> {
    let failed = |source| ImportError::File { path: path.to_owned(), source };
    let digest = digest_of(path, table).map_err(failed)?;
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    // It goes into a header of HTTP.
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let file_name: String = file_name.chars().filter(is_plain).take(FILE_NAME_BYTES_MAX).collect();
    Ok(format!("import/{file_name}/{}", &digits[..DIGITS]))
}

fn digest_of(path: &Path, table: Option<&Table>) -> io::Result<digest::Digest> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut context = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    };
    part(table.map(Table::identity).unwrap_or_default().as_bytes());
    part(path.canonicalize()?.as_os_str().as_encoded_bytes());
    part(&length.to_le_bytes());
    let edge = length.min(EDGE_BYTES);
    for start in [0, length - edge] {
        let mut bytes = vec![0; usize::try_from(edge).expect("at most 64 KiB")];
        file.read_exact_at(&mut bytes, start)?;
        part(&bytes);
    }
    Ok(context.finish())
}
