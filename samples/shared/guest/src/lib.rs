//! A calculator whose functions are exported by an interface rather than by the world.

wit_bindgen::generate!({ world: "calc" });

use exports::samples::calc::ops::{Guest, Rounding, Shape};

struct Calc;

export!(Calc);

impl Guest for Calc {
    fn add(a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    fn sub(a: i64, b: i64) -> i64 {
        a.wrapping_sub(b)
    }

    fn round_to(value: i64, step: u32, how: Rounding) -> Option<i64> {
        let step = i64::from(step);
        let above = value.checked_rem_euclid(step)?;
        let down = above == 0
            || match how {
                Rounding::Down => true,
                Rounding::Nearest => above < step - above,
                Rounding::Up => false,
            };
        let floor = value.checked_sub(above);
        if down {
            floor
        } else {
            // From `value`, as the floor itself may be out of range.
            value.checked_add(step - above)
        }
    }

    fn area(of: Shape) -> f64 {
        match of {
            Shape::Point => 0.0,
            Shape::Square(side) => side * side,
            Shape::Rectangle((width, height)) => width * height,
        }
    }
}
