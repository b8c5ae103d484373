//! `--part K/N` and `--part auto/N`.

use crate::run::Part;

/// Variables in which schedulers give the number of a task in an array, and the number of the first task.
///
/// The bounds of the array (SLURM_ARRAY_TASK_MIN and the like) are not read: if only tasks 3 and 7 are submitted again,
/// they are those of the new array. Slurm, PBS and Torque let users choose where an array starts; it must be 0.
const ARRAYS: &[(&str, usize)] = &[
    ("SLURM_ARRAY_TASK_ID", 0),
    ("PBS_ARRAY_INDEX", 0),
    ("PBS_ARRAYID", 0),
    ("SGE_TASK_ID", 1),
    ("AWS_BATCH_JOB_ARRAY_INDEX", 0),
    ("BATCH_TASK_INDEX", 0),
    ("JOB_COMPLETION_INDEX", 0),
];

/// Parses `3/64`, or `auto/64` with the number of the task from the environment.
pub fn parse(text: &str) -> Result<Part, String> {
    part(text, |name| std::env::var(name).ok())
}

fn part(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Part, String> {
    let wrong = || "expected K/N or auto/N, such as 3/64".to_owned();
    let (index, of) = text.split_once('/').ok_or_else(wrong)?;
    let of = of.parse().map_err(|_| wrong())?;
    let (index, from) = match index {
        "auto" => task(variable)?,
        index => (index.parse().map_err(|_| wrong())?, None),
    };
    Part::new(index, of).map_err(|error| match from {
        None => error.message().to_owned(),
        Some((name, value, first)) => format!(
            "{name} is {value}: {of} parts need an array of tasks from {first} to {}",
            (of + first).saturating_sub(1)
        ),
    })
}

/// Number of the task from 0, with the variable, its value, and the number of the first task.
type Task = (usize, Option<(&'static str, String, usize)>);

fn task(variable: impl Fn(&str) -> Option<String>) -> Result<Task, String> {
    let mut found: Option<Task> = None;
    for (name, first) in ARRAYS {
        // Grid Engine sets "undefined" outside of arrays.
        let Some(value) = variable(name).filter(|value| !matches!(value.trim(), "" | "undefined")) else { continue };
        let number = value.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(*first));
        let Some(number) = number else {
            return Err(format!("expected an integer of at least {first} in {name}, found {value:?}"));
        };
        match &found {
            Some((other, Some((other_name, ..)))) if *other != number => {
                return Err(format!("{other_name} and {name} name different tasks; give the part as K/N"));
            }
            Some(_) => {}
            None => found = Some((number, Some((name, value, *first)))),
        }
    }
    let names = || ARRAYS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("this is not a task of an array job: expected one of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, set: &[(&str, &str)]) -> Result<(usize, usize), String> {
        let find = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        part(text, find).map(|part| (part.index, part.of))
    }

    #[test]
    fn a_part_is_given_or_is_the_task_of_an_array_job() {
        assert_eq!(of("3/64", &[("SLURM_ARRAY_TASK_ID", "5")]), Ok((3, 64)));
        for (name, first) in ARRAYS {
            assert_eq!(of("auto/8", &[(name, &(first + 7).to_string())]), Ok((7, 8)), "{name}");
            let error = of("auto/8", &[(name, &(first + 8).to_string())]).unwrap_err();
            let expected =
                format!("{name} is {}: 8 parts need an array of tasks from {first} to {}", first + 8, first + 7);
            assert_eq!(error, expected);
        }
        // The array of a resubmitted task has other bounds than the first one.
        let again = [("SLURM_ARRAY_TASK_MIN", "3"), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_ID", "7")];
        assert_eq!(of("auto/64", &again), Ok((7, 64)));
        assert_eq!(of("auto/2", &[("SGE_TASK_ID", "undefined"), ("JOB_COMPLETION_INDEX", "1")]), Ok((1, 2)));
    }

    #[test]
    fn other_texts_and_environments_are_refused() {
        for wrong in ["", "3", "/8", "8/8", "-1/8", "0/0", "1/x", "auto", "auto/", "0/99999999"] {
            assert!(of(wrong, &[("SLURM_ARRAY_TASK_ID", "0")]).is_err(), "{wrong}");
        }
        assert!(of("auto/8", &[]).unwrap_err().contains("not a task of an array job"));
        assert!(of("auto/8", &[("SGE_TASK_ID", "0")]).unwrap_err().contains("at least 1 in SGE_TASK_ID"));
        let two = [("SLURM_ARRAY_TASK_ID", "1"), ("JOB_COMPLETION_INDEX", "2")];
        assert!(of("auto/8", &two).unwrap_err().contains("different tasks"));
    }
}
