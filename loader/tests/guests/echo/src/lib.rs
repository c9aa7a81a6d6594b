//! Gives every kind of WIT value back as it came.

wit_bindgen::generate!({ world: "echo" });

use exports::test::echo::values::*;

struct Echo;

export!(Echo);

impl Guest for Echo {
    fn echo_bool(v: bool) -> bool {
        v
    }
    fn echo_s8(v: i8) -> i8 {
        v
    }
    fn echo_s16(v: i16) -> i16 {
        v
    }
    fn echo_s32(v: i32) -> i32 {
        v
    }
    fn echo_s64(v: i64) -> i64 {
        v
    }
    fn echo_u8(v: u8) -> u8 {
        v
    }
    fn echo_u16(v: u16) -> u16 {
        v
    }
    fn echo_u32(v: u32) -> u32 {
        v
    }
    fn echo_u64(v: u64) -> u64 {
        v
    }
    fn echo_f32(v: f32) -> f32 {
        v
    }
    fn echo_f64(v: f64) -> f64 {
        v
    }
    fn echo_char(v: char) -> char {
        v
    }
    fn echo_string(v: String) -> String {
        v
    }
    fn echo_bytes(v: Vec<u8>) -> Vec<u8> {
        v
    }
    fn echo_strings(v: Vec<String>) -> Vec<String> {
        v
    }
    fn echo_lists(v: Vec<Vec<i16>>) -> Vec<Vec<i16>> {
        v
    }
    fn echo_record(v: Outer) -> Outer {
        v
    }
    fn echo_records(v: Vec<Outer>) -> Vec<Outer> {
        v
    }
    fn echo_tuple(v: (u8, String, f32)) -> (u8, String, f32) {
        v
    }
    fn echo_option(v: Option<u32>) -> Option<u32> {
        v
    }
    fn echo_option_option(v: Option<Option<u32>>) -> Option<Option<u32>> {
        v
    }
    fn echo_result(v: Result<u32, String>) -> Result<u32, String> {
        v
    }
    fn echo_result_unit(v: Result<(), ()>) -> Result<(), ()> {
        v
    }
    fn echo_result_ok_only(v: Result<u32, ()>) -> Result<u32, ()> {
        v
    }
    fn echo_result_err_only(v: Result<(), String>) -> Result<(), String> {
        v
    }
    fn echo_result_nested(v: Vec<Result<u32, String>>) -> Vec<Result<u32, String>> {
        v
    }
    fn echo_variant(v: Shape) -> Shape {
        v
    }
    fn echo_variants(v: Vec<Shape>) -> Vec<Shape> {
        v
    }
    fn echo_enum(v: Color) -> Color {
        v
    }
    fn echo_flags(v: Access) -> Access {
        v
    }
    fn fail(v: Inner) -> Result<u32, Inner> {
        Err(v)
    }
    fn nothing() {}
    fn trap(message: String) {
        panic!("{message}");
    }
    fn optional(a: u32, b: Option<u32>, c: Option<String>) -> String {
        format!("{a} {b:?} {c:?}")
    }
    #[allow(clippy::too_many_arguments)]
    fn twenty(
        p0: i8, p1: u8, p2: i16, p3: u16, p4: i32, p5: u32, p6: i64, p7: u64, p8: f32, p9: f64,
        p10: bool, p11: char, p12: String, p13: Vec<u8>, p14: Option<u32>, p15: Color, p16: Access,
        p17: (u32, u32), p18: Result<u32, String>, p19: i32,
    ) -> String {
        format!(
            "{p0},{p1},{p2},{p3},{p4},{p5},{p6},{p7},{},{},{p10},{p11},{p12},{p13:?},{p14:?},{},{},{p17:?},{p18:?},{p19}",
            p8 as i32, p9 as i32, p15 as u8, p16.bits()
        )
    }
}
