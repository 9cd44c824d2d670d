//! Secrets, compared.

/// Whether both are the same, without telling by its time where the difference is.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    left.len() == right.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        assert!(same(b"secret", b"secret"));
        for other in ["", "s", "secres", "secrets", "Secret"] {
            assert!(!same(b"secret", other.as_bytes()) && !same(other.as_bytes(), b"secret"), "{other}");
        }
    }
}
