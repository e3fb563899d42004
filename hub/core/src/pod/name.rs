//! Names of Pods: what they come from and five random characters, so that a Pod that takes another one's place is not
//! taken for it.

use alloc::{format, string::String};

use crate::rng::Rng;

/// A name that begins with `prefix` and is not taken. There are 14 million of them, and a hub keeps 200,000 Pods
/// ([`crate::registry::MAX_PODS`]): drawing again is seldom needed, and ends.
pub(crate) fn draw(prefix: &str, rng: &mut Rng, is_taken: impl Fn(&str) -> bool) -> String {
    loop {
        let suffix = rng.suffix().map(char::from).into_iter().collect::<String>();
        let name = format!("{prefix}{suffix}");
        if !is_taken(&name) {
            return name;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    fn rng() -> Rng {
        Rng::new(core::array::from_fn(|byte| byte as u8))
    }

    #[test]
    fn a_name_that_is_taken_is_drawn_again() {
        let first = draw("web-", &mut rng(), |_| false);
        let (mut one, mut other) = (rng(), rng());
        let second = draw("web-", &mut one, |name| name == first);
        assert_ne!(first, second);
        assert_eq!(draw("web-", &mut other, |_| false), first);
        assert_eq!(draw("web-", &mut other, |_| false), second);
    }

    #[test]
    fn as_many_pods_as_a_fleet_has_all_have_names_of_their_own() {
        let (mut rng, mut names) = (rng(), BTreeSet::new());
        for _ in 0..20_000 {
            let name = draw("web-", &mut rng, |name| names.contains(name));
            assert!(names.insert(name));
        }
    }
}
