"""A CLIP guides samples of a run: GLIDE's recorded chain by imported runs, any solver, and what is refused."""

import importlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
import samplers
from configs.glide import base, clip
from configs.text import scenes, scenes_clip
from configs.vp import digits
from editing import telling
from evaluation import ingredients
from experiment import Refusal, build, load, refusing
from experiment.sampling import GUIDE, guided
from experiment.weights import load_guided
from experiment.workdir import Workdir
from tests.experiment.test_guidance import begin
from tests.experiment.test_texts import THREE
from tests.models.glide_weights import FOLDER, network
from tests.oracles import compiled

REFERENCE = Path(__file__).parents[1] / "reference"
TINY_CLIP = {"patch_size": 8, "image_width": 8, "image_layers": 1, "image_heads": 2, "projection_dim": 8}
TINY_CLIP |= {"text_width": 8, "text_layers": 1, "text_heads": 2}
SEVEN = "a large blue seven in the centre on white"


def tiny(module, **sampling) -> ConfigDict:
    """Scenes of 16 pixels: a model that reads, or with model.tokens 0 one that reads nothing, or a CLIP."""
    config = module.get_config()
    with config.unlocked():
        config.data.update(size=16, image_size=16, train_length=16, test_length=8)
    if module is scenes_clip:
        config.model.update(TINY_CLIP)
    else:
        config.model.update(nf=8, ch_mult=(1,), attn_resolutions=(), head_channels=8, num_groups=2)
        config.model.update(text_width=8, text_layers=1, text_heads=2)
        config.sampling.update({"method": "ddim", "grid": "uniform", "evaluations": 2, "guidance": 1.0} | sampling)
        config.eval.update(batch_size=8, num_samples=8, samplers=(config.sampling.method,), judge="")
    return config


def without_texts(**sampling) -> ConfigDict:
    """A network that reads nothing, on the same pictures."""
    config = tiny(scenes, **sampling)
    kept = {name: config.model[name] for name in ("prediction", "noise_label", "preconditioning")}
    kept |= {name: value for name, value in config.model.items() if name.startswith("ema_")}
    with config.unlocked():
        config.data.tokenizer = ""
        config.model = ConfigDict({"name": "ncsnpp", "nf": 8, "ch_mult": (1,), "num_res_blocks": 1, **kept})
        config.model.update(attn_resolutions=(), embedding_type="positional")
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Runs of random weights."""
    folder = tmp_path_factory.mktemp("runs")
    configs = {"reads": tiny(scenes), "blind": without_texts(), "clip": tiny(scenes_clip)}
    return {name: begin(config, folder / name, i) for i, (name, config) in enumerate(configs.items())}


def test_its_gradient_leads_the_predictions_of_any_solver(runs: dict[str, str]) -> None:
    """The network's own score and scale times the gradient of the logit, of each sample's own text."""
    (folder := Path(runs["clip"]).parent / "prompts.txt").write_text(f"{THREE}\n{SEVEN}\n")
    experiment = build(without_texts(prompt=f"@{folder}", guide=runs["clip"], guidance=2.5, threshold="none"))
    variables = load_guided(Workdir(runs["blind"]), experiment)[1]
    assert experiment.texts(0, 3) == [THREE, SEVEN, THREE]
    told = experiment.told(0, 3)
    assert (
        set(told) == {"guide_tokens", "guide_mask"} and not (told["guide_tokens"][0] == told["guide_tokens"][1]).all()
    )
    x, t = jax.random.normal(jax.random.key(0), (3, 16, 16, 3)), jnp.array([0.1, 0.4, 0.8])
    of_guide = {name.removeprefix(GUIDE): value for name, value in variables.items() if name.startswith(GUIDE)}

    def scores(variables: dict, of_guide: dict) -> tuple[jax.Array, ...]:
        module = experiment.guide.network.module(of_guide)

        def logits(x: jax.Array) -> jax.Array:
            image, text = module.encode_image(x, 999.0 * t), module.encode_text(jnp.asarray(told["guide_tokens"]))
            cosines = jnp.sum(image * text, 1) / jnp.linalg.norm(image, axis=1) / jnp.linalg.norm(text, axis=1)
            return jnp.sum(jnp.exp(module.logit_scale[...]) * cosines)

        settings, sde = experiment.settings, experiment.sde
        found = guided(experiment, variables, settings, sde, told)
        confined = guided(experiment, variables, settings, sde, told, moved=False)
        return found.score(x, t), confined.score(x, t), jax.grad(logits)(x)

    with_clip, alone, pull = map(np.asarray, compiled(scores)(variables, of_guide))
    assert np.abs(pull).max() > 1e-3
    np.testing.assert_allclose(with_clip, alone + 2.5 * pull, rtol=1e-3, atol=2e-3)


@pytest.mark.slow
def test_runs_that_read_and_runs_that_do_not_draw_what_it_leads_to(runs: dict[str, str], tmp_path: Path) -> None:
    """Other words, other samples; the same words, the same; ancestral by its own rule, as is told in the report."""
    drawn = {}
    for name, method in (("reads", "ddim"), ("blind", "ddim"), ("blind", "ancestral")):
        for text in (THREE, SEVEN, THREE):
            run = load(runs[name], sampling={"guide": runs["clip"], "guidance": 50.0, "prompt": text})
            steps = {"steps": 3, "grid": "uniform"} if method == "ancestral" else {}
            pictures = run.sampler(method, **steps)(jax.random.key(0), 4).x
            drawn.setdefault((name, method), []).append(pictures)
    for first, other, again in drawn.values():
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    config = without_texts(guide=runs["clip"], guidance=5.0, prompt=THREE)
    main.run("sample", config, runs["blind"])
    (file,) = (Path(runs["blind"]) / "samples").glob("*.npz")
    with np.load(file) as found:
        assert list(found["texts"]) == [THREE] * 100


def test_kept_samples_are_of_what_a_guide_has_read(runs: dict[str, str]) -> None:
    texts = [ingredients.of_texts(build(without_texts(prompt=p, guide=runs["clip"])), 4) for p in (THREE, SEVEN)]
    assert texts[0].keys() == {"guide_texts"} and texts[0] != texts[1]
    both = ingredients.of_texts(build(tiny(scenes, prompt=THREE, guide=runs["clip"])), 4)
    assert both["guide_texts"] == texts[0]["guide_texts"] and "texts" in both


def table(folder: Path, rows: np.ndarray) -> list[str]:
    """Texts of which a table of single letters, in this folder, makes the tokens of these rows."""
    start, end, words = int(rows[0, 0]), int(rows.max()), {}
    texts = []
    for row in rows:
        inside = [int(number) for number in row if number not in (0, start, end)]
        texts.append(" ".join(words.setdefault(number, chr(ord("a") + len(words))) for number in inside))
    numbers = {"!": 0, "<|startoftext|>": start, "<|endoftext|>": end} | {f"{w}</w>": n for n, w in words.items()}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"pad_token": "!", "model_max_length": rows.shape[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return texts


@pytest.mark.slow
def test_glide_s_recorded_chain_by_imported_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Base and CLIP are imported as users do; the end of the chain that CLIP guides by the ancestral rule.

    The recorded text of the base is given as tokens; CLIP reads prompts by a table that makes its recorded ones. In
    float64, as was recorded, to 2e-6, where the gradient of the last step, to data, moves the end by 2e-4. In float32
    to the published 2e-4, where CLIP must be told whole levels: its first token is another for each.
    """
    chain = dict(np.load(REFERENCE / "glide" / "chain.npz"))
    for name in ("base", "clip", "table"):
        (tmp_path / name).mkdir()
    (tmp_path / "prompts.txt").write_text("\n".join(table(tmp_path / "table", chain["clip/tokens"])))
    known = dict(network().options)
    of_base, of_clip = base.get_config(), clip.get_config()
    for config in (of_base, of_clip):
        config.data.image_size = 16
    with of_base.unlocked():
        of_base.model.update({n: v for n, v in known.items() if n not in ("image_size", "num_channels", "centered")})
    of_base.sampling.update(grid="5", steps=4, guidance=1.0)
    of_clip.data.tokenizer = f"clip:{tmp_path / 'table'}"
    sizes = {"image_width": 16, "image_layers": 2, "image_heads": 2, "text_width": 12, "text_layers": 2}
    of_clip.model.update(sizes | {"text_heads": 2, "projection_dim": 12, "tokens": 9, "vocabulary": 60})
    main.run("import", of_base, str(tmp_path / "base"), str(FOLDER / "text2im.safetensors"))
    main.run("import", of_clip, str(tmp_path / "clip"), str(REFERENCE / "glide_clip"))

    key, draws = jax.random.key(3), np.moveaxis(chain["chain/noise"], -3, -1).astype(precision)
    steps = jnp.stack([jax.random.key_data(jax.random.fold_in(key, i)) for i in range(5)])

    def recorded(own: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.asarray(draws[1:])[jnp.argmax(jnp.all(steps == jax.random.key_data(own), axis=1))]

    monkeypatch.setattr(importlib.import_module("samplers.ancestral"), "normal_like", recorded)
    asked = {"guide": str(tmp_path / "clip"), "guidance": 3.0, "prompt": f"@{tmp_path / 'prompts.txt'}"}
    run = load(tmp_path / "base", sampling=asked | {"keep_latents": True})
    drawn = run.sampler()(key, draws[0], tokens=chain["chain/tokens"].astype(np.int32), mask=chain["chain/mask"])
    assert drawn.evaluations.tolist() == [5] * len(draws[0])
    expected = np.moveaxis(chain["clip_guided/x"][-1], -3, -1)
    np.testing.assert_allclose(drawn.latents, expected, rtol=0, atol=1e-5 if precision == "float64" else 2e-4)
    assert np.abs(expected - np.moveaxis(chain["base_noguidance/x"][-1], -3, -1)).max() > 0.1


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"guidance_rescale": 0.5}, r"guidance_rescale is 0\.5.*is a CLIP; set it to 0"),
        ({"height": 32}, r"sampling\.height is 32 .*is a CLIP of pictures of one size"),
        ({"negative_prompt": "red"}, r"sampling\.negative_prompt is 'red'"),
        ({"prompt": "a small purple three"}, "purple"),
    ],
)
def test_what_it_cannot_do_is_refused(runs: dict[str, str], sampling: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(tiny(scenes, guide=runs["clip"], **sampling))


def test_what_cannot_guide_is_refused(runs: dict[str, str], tmp_path: Path) -> None:
    """A CLIP of another noise or of pictures without any, one that cannot read, and a run of no pictures' words."""
    with pytest.raises(ValueError, match=r"reads no texts; leave it ''"):
        build(without_texts(prompt=THREE))
    config = without_texts(guide=runs["clip"])
    with config.unlocked():
        config.sde.schedule = "cosine"
    with pytest.raises(Refusal, match="has learned the noise"), refusing():
        build(config)
    changes = {"clean": ("model", {"num_scales": 0}), "silent": ("data", {"tokenizer": ""})}
    for name, (section, change) in changes.items():
        changed = tiny(scenes_clip)
        changed[section].update(change)
        begin(changed, tmp_path / name, 0)
    with pytest.raises(ValueError, match=r"model\.num_scales is 0, and a CLIP of noisy images is told the noise"):
        build(without_texts(guide=str(tmp_path / "clean")))
    with pytest.raises(ValueError, match=r"reads texts, and its data\.tokenizer is ''"):
        build(without_texts(guide=str(tmp_path / "silent")))
    with pytest.raises(ValueError, match=r"sampling\.prompt is '', and sampling\.guide .* guides to what a text says"):
        telling.check(build(without_texts(guide=runs["clip"])))
    with pytest.raises(ValueError, match=r"has data\.image_size 16, and this run 8"):
        build(digits_guided(runs["clip"]))


def test_a_weaker_model_reads_as_the_run_does_and_needs_no_more(tmp_path: Path) -> None:
    """Tokens would mean other words to it, or be as many as it does not take; and nobody gives it a smaller picture."""
    changes = {"longer": {"tokens": 15}, "larger": {"upsampling": 2}}
    for name, change in changes.items():
        with (changed := tiny(scenes)).unlocked():
            changed.model.update(change)
        Workdir(tmp_path / name).begin(changed)
    with pytest.raises(ValueError, match=r"longer' reads texts otherwise than this run; a weaker model must have the"):
        build(tiny(scenes, guide=str(tmp_path / "longer")))
    with pytest.raises(ValueError, match=r"larger' must be told 'low_res' of each example, which this network is not"):
        build(tiny(scenes, guide=str(tmp_path / "larger")))
    assert build(without_texts(guide=str(tmp_path / "longer"))).guide, "it is told no text"


def digits_guided(guide: str) -> ConfigDict:
    config = digits.get_config()
    config.sampling.guide = guide
    return config


def test_a_sampler_is_given_a_gradient_only_where_it_has_a_rule_for_it() -> None:
    experiment = build(without_texts())
    with pytest.raises(ValueError, match=r"sampling\.method 'ddim' has no rule of its own for a guide"):
        samplers.create(experiment.sde, lambda x, t: x, experiment.settings, guide=lambda x, t: x)
