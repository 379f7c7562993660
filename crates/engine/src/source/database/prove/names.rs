//! Names of the databases that drills make on a server that others use, too.

const OURS: &str = "backupd_drill_";
/// Of a number of the backup directory's own, in hexadecimal.
const ID_DIGITS: usize = 12;

/// How they begin, by a number of the backup directory's own.
pub(super) fn prefix(id: &str) -> String {
    let digits = id.chars().filter(char::is_ascii_hexdigit).take(ID_DIGITS);
    format!("{OURS}{}_", digits.collect::<String>())
}

/// Whether a name is one that a drill gives to its copy: our name, a number of a backup directory's own, the label, the set.
pub(crate) fn is_of_a_drill(name: &str) -> bool {
    let id = name.strip_prefix(OURS);
    id.and_then(|rest| rest.split_once('_'))
        .is_some_and(|(id, _)| {
            id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_drills_are_theirs() {
        let made = prefix("01234567-89ab-4000-8000-000000000000");
        assert_eq!(made, "backupd_drill_0123456789ab_");
        assert!(is_of_a_drill(&format!("{made}supabase_20261120T020000Z")));
        for name in [
            "backupd_drill_supabase_20261120T020000Z",
            "backupd_drill_0123456789ab",
            "drill_0123456789ab_x",
        ] {
            assert!(!is_of_a_drill(name), "{name}");
        }
    }
}
