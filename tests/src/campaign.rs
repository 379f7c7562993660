//! Many cases of one promise: counted by kind and by how they ended, printed, and wrong ones told at the end, all of them.

use std::collections::BTreeMap;

/// The cases so far.
#[derive(Debug, Default)]
pub struct Campaign {
    ends: BTreeMap<(String, String), usize>,
    wrong: Vec<String>,
}

impl Campaign {
    /// A case of a kind, and how it ended, in a word or two; or what is wrong with it.
    pub fn count(&mut self, kind: &str, end: Result<&str, String>) {
        let word = match &end {
            Ok(word) => word,
            Err(_) => "WRONG",
        };
        let key = (kind.to_owned(), word.to_owned());
        *self.ends.entry(key).or_default() += 1;
        if let Err(wrong) = end {
            self.wrong.push(wrong);
        }
    }

    /// Prints the cases by kind; fails the test when one is wrong. How many there were.
    pub fn end(self) -> usize {
        for ((kind, end), count) in &self.ends {
            println!("{kind}: {count} {end}");
        }
        let count: usize = self.ends.values().sum();
        println!("{count} cases");
        assert!(
            self.wrong.is_empty(),
            "{} of {count} are wrong:\n{}",
            self.wrong.len(),
            self.wrong.join("\n\n")
        );
        count
    }
}
