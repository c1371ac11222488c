//! Rejects keys that are damaged, or so weak that not only their owner can sign with them.
//!
//! A library that verifies signatures need not check this. If a key has an RSA exponent of 1, or is
//! a point of small order, anybody can sign for it. A key that no signature can match was made
//! wrong.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use curve25519_dalek::edwards::CompressedEdwardsY;
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

use super::jwt::SECRET_BYTES_MIN;

/// Shortest modulus for RS256, in bits (RFC 7518, 3.3).
const MODULUS_BITS_MIN: usize = 2048;
/// Longest modulus for which the library verifies signatures, in bits
/// (`RSA_PKCS1_2048_8192_SHA256`).
const MODULUS_BITS_MAX: usize = 8192;

/// Rejects a key that is damaged or too easy to guess.
///
/// # Errors
/// A text that says what is wrong and contains nothing of the key.
pub(super) fn check(key: &DecodingKey) -> Result<(), String> {
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => check_secret(secret),
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => check_rsa(n, e),
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => check_p256(point),
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => check_ed25519(point),
        _ => Err("is no key of its type".to_owned()),
    }
}

fn check_secret(secret: &[u8]) -> Result<(), String> {
    if secret.len() >= SECRET_BYTES_MIN {
        return Ok(());
    }
    let bytes = secret.len();
    Err(format!("the secret must have {SECRET_BYTES_MIN} bytes or more, it has {bytes}"))
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), String> {
    let (n, e) = (without_zeros(modulus), without_zeros(exponent));
    let bits = n.len() * 8 - n.first().map_or(0, |byte| width(byte.leading_zeros()));
    if bits < MODULUS_BITS_MIN {
        return Err(format!(
            "the RSA key must have {MODULUS_BITS_MIN} bits or more, it has {bits}"
        ));
    }
    if bits > MODULUS_BITS_MAX {
        return Err(format!(
            "the RSA key must have at most {MODULUS_BITS_MAX} bits, it has {bits}"
        ));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !is_odd(e) || e == [1] {
        return Err("the exponent of the RSA key must be odd and more than 1".to_owned());
    }
    let key = RsaPublicKeyComponents { n, e };
    if !is_odd(n) || key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_err() {
        return Err("is no public key of RSA".to_owned());
    }
    Ok(())
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn width(bits: u32) -> usize {
    usize::try_from(bits).unwrap_or(usize::MAX)
}

fn check_p256(point: &[u8]) -> Result<(), String> {
    let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    // 65 bytes are an uncompressed point, which is what a JWK with both coordinates makes.
    if point.len() == 65 && parsed.is_ok() {
        Ok(())
    } else {
        Err("is no point of P-256".to_owned())
    }
}

fn check_ed25519(point: &[u8]) -> Result<(), String> {
    let compressed = CompressedEdwardsY::from_slice(point).ok();
    let point = compressed.as_ref().and_then(CompressedEdwardsY::decompress);
    match point {
        Some(point) if !point.is_small_order() => Ok(()),
        Some(_) => Err("is a point of small order, with which everybody can sign".to_owned()),
        None => Err("is no key of Ed25519".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(bits: usize, low: u8, exponent: &[u8]) -> Result<(), String> {
        // Some encoders put a zero in front, as the sign of a positive number.
        let mut modulus = vec![0; bits / 8 + 1];
        modulus[1] = 0x80;
        modulus[bits / 8] = low;
        check_rsa(&modulus, exponent)
    }

    #[test]
    fn an_rsa_key_is_long_and_its_exponent_is_odd() {
        assert_eq!(rsa(2048, 1, &[1, 0, 1]), Ok(()));
        assert_eq!(rsa(2048, 1, &[0, 3]), Ok(()));
        for exponent in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0]] {
            assert!(rsa(2048, 1, exponent).unwrap_err().contains("exponent"), "{exponent:?}");
        }
        assert!(rsa(2048, 2, &[1, 0, 1]).unwrap_err().contains("no public key"));
        // A modulus with as many bytes as a valid one, but with fewer bits.
        let mut short = vec![0xff; 256];
        short[0] = 0x7f;
        assert!(check_rsa(&short, &[1, 0, 1]).unwrap_err().contains("it has 2047"));
        assert!(rsa(8200, 1, &[1, 0, 1]).unwrap_err().contains("at most"));
        assert!(check_rsa(&[], &[3]).unwrap_err().contains("it has 0"));
    }

    #[test]
    fn a_point_is_on_its_curve() {
        let base = curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED.0;
        assert_eq!(check_ed25519(&base), Ok(()));
        for point in curve25519_dalek::constants::EIGHT_TORSION {
            let refused = check_ed25519(&point.compress().0).unwrap_err();
            assert!(refused.contains("small order"), "{refused}");
        }
        // About half of all numbers are not the coordinate of any point, so an invalid one is soon
        // found.
        let mut off = [0; 32];
        off[0] = 2;
        assert!(check_ed25519(&off).unwrap_err().contains("no key"));
        assert!(check_ed25519(&base[1..]).is_err());
        assert!(check_p256(&[4; 65]).is_err() && check_p256(&[]).is_err());
    }
}
