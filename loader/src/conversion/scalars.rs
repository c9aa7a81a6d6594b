//! Values without parts, read from an engine.

use wasmtime::component::Val;

use super::types::Scalar;
use super::world::{Problem, View, World, expected};

pub(super) fn text(bytes: &[u8]) -> Result<String, Problem> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            Err(Problem::new(format!("a string that is not UTF-8, from byte {}", error.valid_up_to() + 1)))
        }
    }
}

pub(super) fn char<W: World>(view: &View<'_, W>) -> Result<char, Problem> {
    match view {
        View::String(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Problem::new("a string that is not UTF-8"))?;
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(char), None) => Ok(char),
                _ => Err(Problem::new(format!(
                    "expected a string of one character, got one of {}",
                    text.chars().count()
                ))),
            }
        }
        View::Integer(code) => {
            let char = u32::try_from(*code).ok().and_then(char::from_u32);
            char.ok_or_else(|| Problem::new(format!("{code} is no character")))
        }
        view => Err(expected("char", view)),
    }
}

pub(super) fn lower_scalar<W: World>(scalar: Scalar, view: &View<'_, W>) -> Result<Val, Problem> {
    Ok(match scalar {
        Scalar::Bool => Val::Bool(boolean(view)?),
        Scalar::S8 => Val::S8(integer(view)?),
        Scalar::U8 => Val::U8(integer(view)?),
        Scalar::S16 => Val::S16(integer(view)?),
        Scalar::U16 => Val::U16(integer(view)?),
        Scalar::S32 => Val::S32(integer(view)?),
        Scalar::U32 => Val::U32(integer(view)?),
        Scalar::S64 => Val::S64(integer(view)?),
        Scalar::U64 => Val::U64(integer(view)?),
        Scalar::F32 => Val::Float32(single(view)?),
        Scalar::F64 => Val::Float64(float(view)?),
    })
}

pub(super) fn boolean<W: World>(view: &View<'_, W>) -> Result<bool, Problem> {
    match view {
        View::Bool(value) => Ok(*value),
        view => Err(expected("bool", view)),
    }
}

pub(super) fn float<W: World>(view: &View<'_, W>) -> Result<f64, Problem> {
    match view {
        View::Float(value) => Ok(*value),
        View::Integer(value) => Ok(*value as f64),
        view => Err(expected("f64", view)),
    }
}

pub(super) fn single<W: World>(view: &View<'_, W>) -> Result<f32, Problem> {
    match view {
        View::Float(value) => Ok(*value as f32),
        View::Integer(value) => Ok(*value as f32),
        view => Err(expected("f32", view)),
    }
}

/// An integer type of WIT.
pub(super) trait Integer: TryFrom<i64> {
    const NAME: &'static str;
    const LEAST: i128;
    const MOST: i128;

    fn from_i64(value: i64) -> Option<Self> {
        Self::try_from(value).ok()
    }
}

macro_rules! integers {
    ($($ty:ident $name:literal,)*) => {
        $(impl Integer for $ty {
            const NAME: &'static str = $name;
            const LEAST: i128 = $ty::MIN as i128;
            const MOST: i128 = $ty::MAX as i128;
        })*
    };
}

integers! { i8 "s8", u8 "u8", i16 "s16", u16 "u16", i32 "s32", u32 "u32", i64 "s64", }

impl Integer for u64 {
    const NAME: &'static str = "u64";
    const LEAST: i128 = 0;
    const MOST: i128 = u64::MAX as i128;

    /// Two's complement: engines have no integers above 2^63-1.
    fn from_i64(value: i64) -> Option<Self> {
        Some(value.cast_unsigned())
    }
}

pub(super) fn integer<T: Integer, W: World>(view: &View<'_, W>) -> Result<T, Problem> {
    let out_of_range = |value: &dyn std::fmt::Debug| {
        Problem::new(format!("{value:?} is out of range of {} ({} to {})", T::NAME, T::LEAST, T::MOST))
    };
    match view {
        View::Integer(value) => T::from_i64(*value).ok_or_else(|| out_of_range(value)),
        View::Float(value) if value.fract() == 0.0 => {
            // The sum of both ranges: a `u64` above 2^63-1 has the bits of a negative integer.
            let whole = *value as i128;
            let bits = if whole > i128::from(i64::MAX) && whole <= T::MOST {
                Some((whole as u64).cast_signed())
            } else {
                i64::try_from(whole).ok()
            };
            bits.and_then(T::from_i64).ok_or_else(|| out_of_range(value))
        }
        View::Float(value) => Err(Problem::new(format!("expected {}, got {value:?}", T::NAME))),
        view => Err(expected(T::NAME, view)),
    }
}
