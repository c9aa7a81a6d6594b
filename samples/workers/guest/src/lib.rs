//! Workers: one computes and may crash, one is sent messages.

wit_bindgen::generate!({ world: "samples:workers/worker", path: ["../../../loader/wit", "wit"], generate_all });

use wippy::runtime::inbox::{Received, receive};

struct Worker;

export!(Worker);

impl Guest for Worker {
    fn largest_prime(limit: u32) -> u32 {
        let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
        (2..=limit).rev().find(is_prime).expect("there is no prime number below 2")
    }

    fn sum() -> Result<String, String> {
        let mut sum = 0_i64;
        let mut count = 0;
        loop {
            let message = match receive() {
                Received::Message(message) => message,
                Received::Canceled(reason) => return Err(format!("{reason} after {count} numbers")),
            };
            match message.topic.as_str() {
                "add" => {
                    let text = String::from_utf8(message.payload).map_err(|error| error.to_string())?;
                    sum += text.parse::<i64>().map_err(|error| format!("`{text}`: {error}"))?;
                    count += 1;
                }
                "stop" => return Ok(format!("{count} numbers make {sum}")),
                other => return Err(format!("nothing is done about `{other}`")),
            }
        }
    }
}
