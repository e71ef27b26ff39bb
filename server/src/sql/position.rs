//! Places in a statement's text.

/// The place of a line and a column, both from 1, as PostgreSQL counts it: in characters from 1.
/// `None` for a place that is not in the text (a line of 0 stands for no place).
pub fn character_position(text: &str, line: u64, column: u64) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?;
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    let position = before + column;
    (position <= text.chars().count() + 1).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_over_lines() {
        assert_eq!(character_position("select\n ä, b", 2, 2), Some(9));
        assert_eq!(character_position("select 1", 1, 1), Some(1));
        assert_eq!(character_position("select 1", 0, 0), None);
        assert_eq!(character_position("select 1", 3, 9), None);
    }
}
