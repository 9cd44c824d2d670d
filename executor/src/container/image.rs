//! Images: one that the engine has, one from a file of this machine, or one from a registry.

use super::credentials::{Credentials, registry};
use super::engine::{Engine, in_words, is_missing};
use bollard::models::CreateImageInfo;
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long a registry may say nothing while it is pulled from.
const SILENCE_LIMIT: Duration = Duration::from_mins(5);
/// How often a pull is tried.
const TRIES: u32 = 3;
/// The wait before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(2);
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How much of a file is read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Makes sure that the engine has the image.
///
/// # Errors
/// Why it has not, for people.
pub(super) async fn provide(
    engine: &Engine,
    image: &str,
    images: Option<&Path>,
    credentials: Option<&Credentials>,
    progress: &watch::Sender<Option<String>>,
) -> Result<(), String> {
    if has(engine, image).await? {
        return Ok(());
    }
    if let Some(file) = images.map(|folder| folder.join(file_name(image))).filter(|file| file.is_file()) {
        progress.send_replace(Some(format!("image {image}: it is read from {}", file.display())));
        load(engine, &file).await.map_err(|reason| format!("the image file {}: {reason}", file.display()))?;
        return match has(engine, image).await? {
            true => Ok(()),
            false => Err(format!("the file {} holds no image called {image}", file.display())),
        };
    }
    let mut pause = PAUSE;
    for attempt in 1.. {
        progress.send_replace(Some(format!("image {image}: it is pulled")));
        match pull(engine, image, credentials, progress).await {
            Ok(()) => return Ok(()),
            Err(reason) => {
                let reason = credentials.map_or(reason.clone(), |credentials| credentials.masked(&reason));
                let fault = Fault::of(&reason);
                if attempt >= TRIES || fault.is_final() {
                    let fault = fault.words(registry(image), credentials);
                    return Err(format!("the image {image} cannot be pulled: {fault}: {reason}"));
                }
                tracing::warn!(image, reason, "pulling is tried again");
            }
        }
        sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

async fn has(engine: &Engine, image: &str) -> Result<bool, String> {
    match engine.docker.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => {
            Err(format!("{} does not say whether it has the image {image}: {}", engine.name, in_words(&error)))
        }
    }
}

async fn load(engine: &Engine, file: &Path) -> Result<(), String> {
    let file = File::open(file).await.map_err(|error| error.to_string())?;
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        file.read_buf(&mut piece).await?;
        Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    });
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut answers = Box::pin(engine.docker.import_image_stream(options, pieces, None));
    while let Some(answer) = answers.next().await {
        answer.map_err(|error| in_words(&error))?;
    }
    Ok(())
}

async fn pull(
    engine: &Engine,
    image: &str,
    credentials: Option<&Credentials>,
    progress: &watch::Sender<Option<String>>,
) -> Result<(), String> {
    let options = CreateImageOptionsBuilder::default().from_image(&with_tag(image)).build();
    // The engine's first word may take as long as the whole image.
    let docker = engine.docker.clone().with_timeout(SILENCE_LIMIT);
    let mut answers = Box::pin(docker.create_image(Some(options), None, credentials.map(|it| it.told(image))));
    let (mut layers, mut told) = (HashMap::new(), Instant::now());
    loop {
        let answer = timeout(SILENCE_LIMIT, answers.next()).await;
        match answer.map_err(|_| format!("nothing came for {} s", SILENCE_LIMIT.as_secs()))? {
            None => return Ok(()),
            Some(Err(error)) => return Err(in_words(&error)),
            Some(Ok(step)) => {
                note(&mut layers, step);
                if told.elapsed() >= TOLD_EVERY {
                    progress.send_replace(Some(format!("image {image}: {}", pulled(&layers))));
                    told = Instant::now();
                }
            }
        }
    }
}

/// What came of each layer, and of how much.
fn note(layers: &mut HashMap<String, (i64, i64)>, step: CreateImageInfo) {
    let (Some(layer), Some(detail)) = (step.id, step.progress_detail) else { return };
    if let (Some(current), Some(total)) = (detail.current, detail.total) {
        layers.insert(layer, (current, total));
    }
}

fn pulled(layers: &HashMap<String, (i64, i64)>) -> String {
    let (current, total) = layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
    match total {
        0 => "it is pulled".to_owned(),
        total => format!("{} of {} MiB are pulled", current >> 20, total >> 20),
    }
}

/// What an engine's words for a pull that failed come down to. They are all that it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Refused,
    Missing,
    Unreachable,
    Malformed,
    Other,
}

impl Fault {
    fn of(reason: &str) -> Self {
        const WORDS: [(Fault, &[&str]); 4] = [
            (
                Fault::Unreachable,
                &["connection refused", "no such host", "no route to host", "network is unreachable", "i/o timeout"],
            ),
            (Fault::Refused, &["unauthorized", "authentication required", "denied", "forbidden", "no basic auth"]),
            (Fault::Missing, &["manifest unknown", "name unknown", "not found", "no such image"]),
            (Fault::Malformed, &["invalid reference"]),
        ];
        let lower = reason.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
        WORDS.into_iter().find(|(_, words)| says(words)).map_or(Self::Other, |(fault, _)| fault)
    }

    /// Whether another try would say the same.
    fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Missing | Self::Malformed)
    }

    fn words(self, registry: &str, credentials: Option<&Credentials>) -> String {
        let who = credentials.map_or("without credentials".to_owned(), Credentials::who);
        match self {
            Self::Refused => format!("{registry} refuses it ({who})"),
            Self::Missing => format!("{registry} has no such image"),
            Self::Unreachable => format!("{registry} cannot be reached"),
            Self::Malformed => "its name is not of the form of one".to_owned(),
            Self::Other => format!("{registry} or the engine fails"),
        }
    }
}

/// Without a tag or a digest an engine would pull every tag that there is.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// The file of an image in the folder of images: `library_mariadb_10.11.tar` for `library/mariadb:10.11`.
fn file_name(image: &str) -> PathBuf {
    format!("{}.tar", image.replace(['/', ':', '@'], "_")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for (image, tagged) in [
            ("busybox", "busybox:latest"),
            ("localhost:5000/busybox", "localhost:5000/busybox:latest"),
            ("a/b:1", "a/b:1"),
            ("a@sha256:0", "a@sha256:0"),
        ] {
            assert_eq!(with_tag(image), tagged);
        }
        assert_eq!(file_name("localhost:5000/a/b:1.2"), PathBuf::from("localhost_5000_a_b_1.2.tar"));
        assert_eq!(file_name("../../etc/passwd"), PathBuf::from(".._.._etc_passwd.tar"), "it stays in its folder");
    }

    #[test]
    fn failures_are_told_apart() {
        for (reason, fault) in [
            ("initializing source: reading manifest 1 in r/x: unauthorized: authentication required", Fault::Refused),
            ("pull access denied for x, repository does not exist or may require 'docker login'", Fault::Refused),
            ("manifest for x:9 not found: manifest unknown: manifest unknown", Fault::Missing),
            (
                "pinging container registry h:1: Get \"https://h:1/v2/\": dial tcp: connect: connection refused",
                Fault::Unreachable,
            ),
            ("dial tcp: lookup registry.invalid: no such host", Fault::Unreachable),
            ("unexpected EOF", Fault::Other),
        ] {
            assert_eq!(Fault::of(reason), fault, "{reason}");
        }
        assert!(!Fault::Unreachable.is_final() && Fault::Refused.is_final());
        assert_eq!(Fault::Refused.words("h:1", None), "h:1 refuses it (without credentials)");
    }

    #[test]
    fn progress_is_summed_up() {
        let mut layers = HashMap::new();
        assert_eq!(pulled(&layers), "it is pulled");
        for (id, current) in [("a", 1), ("b", 3), ("a", 2)] {
            let step = serde_json::json!({"id": id, "progressDetail": {"current": current << 20, "total": 4 << 20}});
            note(&mut layers, serde_json::from_value(step).unwrap());
        }
        assert_eq!(pulled(&layers), "5 of 8 MiB are pulled");
    }
}
