//! Pages of a column, checked before they are decoded: the parquet crate makes room for as many
//! values of a dictionary as its header claims.

use parquet::basic::Type;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::RowGroupReader;
use parquet::schema::types::ColumnDescriptor;

/// The reader of column `column` of a row group.
pub fn column_reader(group: &dyn RowGroupReader, column: usize) -> Result<ColumnReader> {
    let descriptor = group.metadata().column(column).column_descr_ptr();
    let pages = CheckedPages {
        pages: group.get_column_page_reader(column)?,
        least_bits: least_bits(&descriptor),
    };
    Ok(get_column_reader(descriptor, Box::new(pages)))
}

/// Bits that a plainly encoded value takes at least (Parquet's Encodings.md, PLAIN).
fn least_bits(descriptor: &ColumnDescriptor) -> u64 {
    match descriptor.physical_type() {
        Type::BOOLEAN => 1,
        // A byte array begins with its length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 32,
        Type::INT64 | Type::DOUBLE => 64,
        Type::INT96 => 96,
        Type::FIXED_LEN_BYTE_ARRAY => 8 * u64::try_from(descriptor.type_length()).unwrap_or(0),
    }
}

struct CheckedPages {
    pages: Box<dyn PageReader>,
    least_bits: u64,
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(Page::DictionaryPage {
            buf, num_values, ..
        }) = &page
            && u64::from(*num_values) * self.least_bits > 8 * buf.len() as u64
        {
            return Err(ParquetError::General(format!(
                "a dictionary of {} bytes claims {num_values} values",
                buf.len()
            )));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
