//! Reads rows of eight numbers from standard input and prints the score of each; two threads share the model.

mod scorer;

use scorer::{Scorer, FEATURES};
use std::io::Read;

fn main() -> Result<(), String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
    let numbers: Vec<f32> = text
        .split_whitespace()
        .map(|word| word.parse().map_err(|_| format!("{word:?} is not a number")))
        .collect::<Result<_, _>>()?;
    let rows: Vec<[f32; FEATURES]> =
        numbers.chunks_exact(FEATURES).map(|row| row.try_into().expect("a row")).collect();

    let model = Scorer::new()?;
    let (first, second) = rows.split_at(rows.len() / 2);
    let scores = std::thread::scope(|scope| {
        let other = scope.spawn(|| model.score(first));
        let mine = model.score(second)?;
        let mut all = other.join().expect("the thread ends")?;
        all.extend(mine);
        Ok::<_, String>(all)
    })?;
    for score in scores {
        println!("{score:.4}");
    }
    Ok(())
}
