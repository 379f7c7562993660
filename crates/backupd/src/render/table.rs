//! Columns of text, as wide as their widest cell.

use std::fmt;

/// Rows of cells. The last column is not padded, so that nothing trails.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; none for a table without.
    pub fn new(headings: &[&str]) -> Self {
        let rows = if headings.is_empty() {
            Vec::new()
        } else {
            vec![headings.iter().map(|cell| (*cell).to_owned()).collect()]
        };
        Self { rows }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows
            .push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let mut table = Table::new(&["SET", "NOTE"]);
        table.row(["a-long-one", ""]);
        table.row(["b", "x"]);
        assert_eq!(
            table.to_string(),
            "SET         NOTE\na-long-one\nb           x\n"
        );
    }
}
