//! What the plan's estimates rest on: the lengths of this task's texts, and the speed of this model on this machine.

use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{Control, Predictor, PromptBatch, TrainingJob, TrainingMethod, Usage, Wanted};
use task::prompt::Rendered;
use task::settings::{self, FineTuneMethod, Settings};

use crate::Error;
use crate::engine::Engine;
use crate::plan::{Measured, Open, Selection, Wishes};
use crate::recipe;
use crate::text_answers::TextAnswers;
use crate::writer::{PromptWriter, target_index};

/// Examples whose lengths are counted.
const SAMPLE: usize = 64;
/// Dev items below which a search could only follow chance.
const FEWEST_SEARCHED: usize = 16;
/// Requests and rows of a speed measurement.
const TIMED: usize = 16;

/// Measures lengths and speeds; about as long as scoring 32 requests and training on 32 rows takes.
pub(crate) fn measure(
    settings: &Settings,
    dataset: &Dataset,
    writer: &PromptWriter,
    engine: &dyn Engine,
) -> Result<Measured, Error> {
    let mut predictor = engine.base();
    let model = || Error::model("measuring");
    let count = |text: &str| predictor.count_tokens(text).map_err(model());
    let sample = spread(&dataset.train, SAMPLE);
    let instruction = count(&writer.prompts(&[], &[""])?.shared)?;
    let asked = writer.tuned_prompts(&sample.iter().map(|e| e.input.as_str()).collect::<Vec<_>>())?;
    let mut queries = Vec::new();
    let mut demonstrations = Vec::new();
    for (example, request) in sample.iter().zip(&asked.requests) {
        let query = count(&format!("{}{request}", asked.shared))?;
        let answer = match writer.texts() {
            Some(texts) => count(&texts.framed(&example.target))?,
            None => count(writer.answers()[target_index(dataset, example)].as_str())?,
        };
        queries.push(query);
        demonstrations.push(query + answer + 1);
    }
    let answers: Result<Vec<usize>, Error> = writer.answers().iter().map(|answer| count(answer)).collect();
    let answers = answers?;
    let context = predictor.context().min(settings.model.context.unwrap_or(usize::MAX));
    let longest_answer = match writer.texts() {
        Some(texts) => texts.max_tokens(),
        None => answers.iter().copied().max().unwrap_or(0),
    };
    let mut measured = Measured {
        forward_speed: 0.0,
        training_speed: 0.0,
        instruction: instruction as f64,
        demonstration: mean(&demonstrations),
        query: mean(&queries),
        longest_query: queries.iter().copied().max().unwrap_or(0) + longest_answer,
        longest_demonstration: demonstrations.iter().copied().max().unwrap_or(0),
        // A tree of n answers of m tokens has at most n (m - 1) internal nodes; shared beginnings make it smaller. A model that
        // computes it tells.
        answers: answers.iter().map(|&tokens| tokens.saturating_sub(1) as f64).sum::<f64>(),
        searched: None,
        writing: 0.0,
        unshown_writing: 0.0,
        context,
    };
    check_context(settings, &measured)?;
    match writer.texts() {
        Some(texts) => {
            let answer = measured.demonstration - measured.query - 1.0;
            let speed = writing_speed(dataset, writer, texts, answer, predictor.as_mut())?;
            [measured.forward_speed, measured.writing, measured.unshown_writing] = speed;
        }
        None => scoring_speed(dataset, writer, predictor.as_mut(), &mut measured)?,
    }
    drop(predictor);
    measured.training_speed = training_speed(settings, dataset, writer, engine, measured.demonstration)?;
    Ok(measured)
}

/// A context that cannot hold one query, or one demonstration where demonstrations are asked for, ends the run at once.
fn check_context(settings: &Settings, measured: &Measured) -> Result<(), Error> {
    let smallest = settings.in_context.shots.iter().filter(|shots| shots.count() != Some(0)).min();
    for (what, shots) in [("the prompt without demonstrations", 0), ("the prompt with one demonstration", 1)]
    {
        let needed = crate::plan::prompt_bound(measured, shots).ceil() as usize;
        if (shots == 0 || smallest.is_some()) && needed > measured.context {
            return Err(Error::Context { what: what.to_owned(), needed, limit: measured.context });
        }
    }
    Ok(())
}

/// Forward tokens a second; how many tokens the scores of all labels take after a query, and, in tokens that take as long, the best
/// label alone, where the model tells.
fn scoring_speed(
    dataset: &Dataset,
    writer: &PromptWriter,
    predictor: &mut dyn Predictor,
    measured: &mut Measured,
) -> Result<(), Error> {
    let items = spread(&dataset.train, TIMED);
    let Rendered { shared, requests } =
        writer.tuned_prompts(&items.iter().map(|e| e.input.as_str()).collect::<Vec<_>>())?;
    let mut timed = |wanted: Wanted<'_>| -> Result<Usage, Error> {
        let batch = PromptBatch { shared: &shared, requests: &requests, answers: writer.answers(), wanted };
        Ok(predictor.score(&batch).map_err(Error::model("measuring"))?.usage)
    };
    timed(Wanted::All)?;
    let all = timed(Wanted::All)?;
    measured.forward_speed = all.processed_tokens as f64 / all.seconds.max(1e-6);
    if all.answer_tokens > 0 {
        let best = timed(Wanted::BEST)?;
        let requests = requests.len() as f64;
        measured.answers = all.answer_tokens as f64 / requests;
        let counted = best.answer_tokens as f64 / requests;
        // Passes of few tokens are slower; a hitch of the machine is not what they take.
        let queries = (best.processed_tokens - best.answer_tokens) as f64;
        let took = (best.seconds * measured.forward_speed - queries) / requests;
        measured.searched = Some(took.min(measured.answers).max(counted));
    }
    Ok(())
}

/// Forward tokens a second, and how many of them take as long as the writing of an answer: one of `answer` tokens, as the training
/// rows have, and one as the untuned model writes it without demonstrations, which seldom ends before it must.
fn writing_speed(
    dataset: &Dataset,
    writer: &PromptWriter,
    texts: &TextAnswers,
    answer: f64,
    predictor: &mut dyn Predictor,
) -> Result<[f64; 3], Error> {
    let items = spread(&dataset.train, TIMED);
    let prompts = writer.tuned_prompts(&items.iter().map(|e| e.input.as_str()).collect::<Vec<_>>())?;
    let mut timed = |max_tokens: usize| -> Result<Usage, Error> {
        let written =
            predictor.write(&texts.batch(&prompts, max_tokens)).map_err(Error::model("measuring"))?;
        Ok(written.usage)
    };
    timed(1)?;
    let (brief, whole) = (timed(1)?, timed(texts.max_tokens())?);
    let speed = brief.processed_tokens as f64 / brief.seconds.max(1e-6);
    let each = (whole.seconds - brief.seconds).max(0.0) / items.len().max(1) as f64;
    // What was written beyond the first token took so long.
    let further = (whole.tokens.completion - brief.tokens.completion).max(1.0);
    let shown = each * ((answer - 1.0).max(0.0) / further).min(1.0);
    Ok([speed, shown * speed, each * speed])
}

fn training_speed(
    settings: &Settings,
    dataset: &Dataset,
    writer: &PromptWriter,
    engine: &dyn Engine,
    row_tokens: f64,
) -> Result<f64, Error> {
    let rows: Result<Vec<_>, Error> =
        spread(&dataset.train, TIMED).into_iter().map(|example| writer.training_row(example)).collect();
    let rows = rows?;
    let tokens = rows.len() as f64 * row_tokens;
    let job = TrainingJob {
        rows,
        weights: Vec::new(),
        method: TrainingMethod::lora(settings.fine_tune.rank, settings.fine_tune.alpha),
        learning_rate: 1e-4,
        epochs: 2,
        optimizer: settings.fine_tune.optimizer,
        seed: 0,
    };
    let started = std::time::Instant::now();
    let now = || engine.clock().unwrap_or_else(|| started.elapsed().as_secs_f64());
    let mut before = now();
    let mut seconds = f64::INFINITY;
    engine
        .train(&job, &mut |_, _| {
            seconds = seconds.min(now() - before);
            before = now();
            Ok(Control::Continue)
        })
        .map_err(Error::model("measuring"))?;
    Ok(tokens / seconds.max(1e-6))
}

/// At most `count` examples, evenly spread over `all`.
fn spread(all: &[Example], count: usize) -> Vec<&Example> {
    let step = all.len().div_ceil(count).max(1);
    all.iter().step_by(step).collect()
}

fn mean(values: &[usize]) -> f64 {
    values.iter().sum::<usize>() as f64 / values.len().max(1) as f64
}

/// A selection beside the first two.
fn other_selection(selection: &settings::Selection) -> Option<Selection> {
    match selection {
        settings::Selection::Random | settings::Selection::Bm25 => None,
        settings::Selection::Embedding => Some(Selection::Embedding),
        settings::Selection::Diverse => Some(Selection::Diverse),
        settings::Selection::Hybrid => Some(Selection::Hybrid),
    }
}

/// What the task file asks for, as the plan wants it.
pub(crate) fn wishes(settings: &Settings, dataset: &Dataset) -> Wishes {
    let (tune, context) = (&settings.fine_tune, &settings.in_context);
    let available = dataset.train.len();
    let mut labels: Vec<usize> = tune.labels.iter().map(|&labels| labels.min(available)).collect();
    labels.dedup();
    let searches = context.search && dataset.dev.len() >= FEWEST_SEARCHED;
    let methods = tune.methods.iter().map(|method| match method {
        FineTuneMethod::Lora => TrainingMethod::Lora {
            rank: tune.rank,
            alpha: recipe::alpha(tune.variants[0], tune.alpha, tune.rank, tune.rank),
            variant: tune.variants[0],
            targets: tune.targets[0],
        },
        FineTuneMethod::Full => TrainingMethod::Full,
    });
    Wishes {
        shots: context.shots.iter().filter_map(|shots| shots.count()).filter(|&k| k <= available).collect(),
        draws: context.seeds as u64,
        random: context.selection.contains(&settings::Selection::Random),
        bm25: context.selection.contains(&settings::Selection::Bm25),
        more: context.selection.iter().filter_map(other_selection).collect(),
        most_shots: context.shots.contains(&settings::Shots::Max),
        calibrated: context.calibration.iter().any(|&one| one != settings::Calibration::None),
        train: available,
        prompt_search_share: if searches { context.search_share } else { 0.0 },
        methods: methods.collect(),
        labels: labels.into_iter().map(|rows| (rows, tune.epochs_for(rows))).collect(),
        seeds: tune.seeds as u64,
        lora_rates: tune.learning_rates.clone(),
        full_rates: tune.full_learning_rates.clone(),
        variants: tune.variants.clone(),
        targets: tune.targets.clone(),
        ranks: tune.ranks.clone(),
        alpha: tune.alpha,
        search_share: tune.search_share,
        epochs: tune.epochs,
        hybrids: tune.hybrids.clone(),
        // What is left by the probes.
        budget: settings.budget.seconds * (1.0 - settings.probes.share),
        evaluated: [dataset.dev.len(), dataset.test.len()],
        top_up: settings.budget.top_up,
        open: open(settings),
    }
}

/// The lists that are the default ones.
fn open(settings: &Settings) -> Open {
    let context = settings::InContextSettings::default();
    let tune = task::task_file::FineTuneSection::default();
    Open {
        selections: settings.in_context.selection == context.selection,
        shots: settings.in_context.shots == context.shots,
        labels: settings.fine_tune.labels == tune.labels,
        rates: settings.fine_tune.learning_rates == tune.learning_rates,
    }
}
