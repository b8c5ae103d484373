//! Shell patterns (`*`, `?`, `[a-z]`, `[!a]`) on names, for `glob`, with Python's reading of brackets.

/// A compiled pattern.
pub struct Pattern(Vec<Part>);

enum Part {
    Any,
    One,
    Char(char),
    Set { ranges: Vec<(char, char)>, negated: bool },
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Any => false,
            Part::One => true,
            Part::Char(own) => *own == c,
            Part::Set { ranges, negated } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

impl Pattern {
    pub fn new(pattern: &str) -> Pattern {
        let chars: Vec<char> = pattern.chars().collect();
        let (mut parts, mut at) = (vec![], 0);
        while let Some(&c) = chars.get(at) {
            at += 1;
            match c {
                '*' => parts.push(Part::Any),
                '?' => parts.push(Part::One),
                '[' => match bracket(&chars[at..]) {
                    Some((part, used)) => {
                        parts.push(part);
                        at += used;
                    }
                    None => parts.push(Part::Char('[')),
                },
                c => parts.push(Part::Char(c)),
            }
        }
        Pattern(parts)
    }

    /// Whether the whole of `name` matches, in at most |name|·|pattern| steps.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let parts = &self.0;
        let (mut n, mut p) = (0, 0);
        // After a `*`: where it stands and how much it has taken so far. Only the last one needs to be revised.
        let mut star: Option<(usize, usize)> = None;
        loop {
            match parts.get(p) {
                Some(Part::Any) => {
                    star = Some((p, n));
                    p += 1;
                    continue;
                }
                Some(part) if n < name.len() && part.takes(name[n]) => {
                    (n, p) = (n + 1, p + 1);
                    continue;
                }
                None if n == name.len() => return true,
                _ => {}
            }
            match star {
                Some((at, taken)) if taken < name.len() => {
                    star = Some((at, taken + 1));
                    (n, p) = (taken + 1, at + 1);
                }
                _ => return false,
            }
        }
    }
}

/// The set after `[` and how many characters it takes, `]` included; `None` without a closing bracket.
fn bracket(rest: &[char]) -> Option<(Part, usize)> {
    let negated = rest.first() == Some(&'!');
    let start = usize::from(negated);
    // A `]` that comes first is a member.
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let (mut ranges, mut members) = (vec![], &rest[start..end]);
    while let [first, others @ ..] = members {
        match others {
            ['-', last, others @ ..] => {
                ranges.push((*first, *last));
                members = others;
            }
            others => {
                ranges.push((*first, *first));
                members = others;
            }
        }
    }
    Some((Part::Set { ranges, negated }, end + 1))
}
