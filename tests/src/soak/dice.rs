//! Draws from tables of weights.

use fastrand::Rng;

/// Draws one of the choices, each as often as its weight says.
///
/// # Panics
/// If there is nothing to choose from.
pub fn draw<T: Copy>(dice: &mut Rng, choices: &[(T, u32)]) -> T {
    let total: u32 = choices.iter().map(|(_, weight)| weight).sum();
    let mut drawn = dice.u32(..total);
    for (choice, weight) in choices {
        if drawn < *weight {
            return *choice;
        }
        drawn -= weight;
    }
    unreachable!("less than the sum of the weights was drawn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_drawn_as_often_as_its_weight_says() {
        let mut dice = Rng::with_seed(1);
        let drawn: Vec<char> =
            (0..10_000).map(|_| draw(&mut dice, &[('a', 1), ('b', 0), ('c', 3)])).collect();
        let count = |wanted| drawn.iter().filter(|choice| **choice == wanted).count();
        assert_eq!(count('b'), 0);
        assert!((2_000..3_000).contains(&count('a')), "{}", count('a'));
    }
}
