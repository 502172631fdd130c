"""What a sampler is, as numbers and names: the config's ``sampling`` section."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any

import limits
from samplers import grids, spacings
from samplers.base import Stepper
from samplers.guidance import RANGES as OF_GUIDANCE
from samplers.guidance import scale_of
from samplers.methods import CATEGORICAL, CORRECTORS, MAPS, PREDICTORS, SOLVERS, STEPPERS
from samplers.ode import TOLERANCE
from samplers.schedulers import SCHEDULERS
from samplers.threshold import RANGES as OF_THRESHOLD

OPTIONS = limits.declared(*STEPPERS.values())
METHODS = ("pc", "ode", *PREDICTORS, *SOLVERS, *MAPS)
"""The methods of this project, which go with every process."""
GENERATOR = "generator"
"""The method of what makes data of noise in one evaluation of its network, and follows no model of a noise process."""
KNOWN = (*METHODS, *CATEGORICAL, *SCHEDULERS, GENERATOR)
"""These, the samplers over categories, the schedulers of diffusers, built from a file of that program, and this one."""
SCHEDULER = limits.OneOf((*SCHEDULERS, ""))
"""What ``sampling.scheduler`` may be; with '' the sampler is that of ``sampling.method``."""
SIX = 6
"""How many numbers say the size of a picture to a network (`told_size`)."""
DENOISE = ("tweedie", "mean", "none")


@dataclasses.dataclass(frozen=True)
@limits.with_options(*STEPPERS.values())
class Settings:
    """What a sampler is; the ancestor's names where they exist.

    Beside what is here it has the options that the samplers of `samplers.methods.STEPPERS` declare.

    Attributes:
      method: 'pc' (predictor and corrector), 'ode' (adaptive probability flow), one predictor by name, or one of the
        few-step solvers, `samplers.methods.SOLVERS`, or of the maps, `samplers.methods.MAPS`, or a scheduler of
        diffusers, `samplers.schedulers.SCHEDULERS`, which has a grid, a last step and a threshold of its own; or
        'generator', the one evaluation of a network that makes data of noise.
      predictor: of 'pc': one of PREDICTORS, or 'none' for the corrector alone.
      corrector: of 'pc': 'langevin', 'ald' (annealed Langevin) or 'none'.
      steps: grid steps of the stochastic methods, and of a scheduler.
      scheduler_config: the text of the scheduler_config.json from which a scheduler is built.
      flow_steps: grid steps of the fixed-step flow methods.
      evaluations: score evaluations of a few-step solver, the step to data included; its grid gets as many points as
        they allow.
      grid: 'auto' (what is best for a few-step solver on that process, as is its end, else uniform, but on EDM: see
        `samplers.defaults`), 'uniform', 'shifted', 'quadratic', 'log_snr', 'karras', 'given', 'published', 'levels'
        (those of a chain, which `discretization` names), or levels of a chain by one of `samplers.spacings`:
        'trailing', 'ddim50', ...
      karras_power: rho of 'karras'.
      grid_shift: s of 'shifted'.
      grid_noise: sigma / alpha of the times between the ends of 'given', falling.
      t_min: where the grid ends.
      denoise: the last step to data: 'tweedie' (one more evaluation), 'mean' (published: the last step without its
        noise; nothing for deterministic methods) or 'none'. With either of the first two a few-step solver's last step
        is to t = 0, one of its evaluations, and a decoder's sample is without the noise of its distribution.
      discretization: 0 for exact kernels, N for those of the published N-step chain on its own grid; on any other grid
        they are exact too (`samplers.settled` says which).
      prior_scale: what points of the prior are multiplied by before they are carried (a temperature).
      threshold: 'none', 'clip' or 'dynamic': how the denoised image is kept in the data's range.
      threshold_quantile: of 'dynamic'.
      rtol: of 'ode'.
      atol: of 'ode'.
      prompt: the text that is drawn, of a network that reads texts, or @ and a file of them; '': captions of the test
        set in turn.
      negative_prompt: what guidance leads away from in place of no text; a text, or @ and a file of them.
      told_size: of a network that is told the size of a picture, six numbers: height and width of the original, top and
        left of its crop, height and width that are asked for; (): those of the picture that is drawn, whole.
      label: the class that is drawn; -1: every class in turn.
      guidance: how far the score is moved away from the unconditional one, or from a weaker `guide`'s; 1 (weight 0) is
        without. Of a classifier or a CLIP as `guide`, the scale of its gradient; 0 is without.
      guidance_convention: what that number is: 'scale' s, or 'weight' w = s - 1 (see `samplers.guidance`).
      guidance_low: the lowest sigma / alpha at which it is moved.
      guidance_high: the highest.
      guidance_rescale: the share in which the network's guided output gets its old deviation back.
      guide: the folder of a run to guide with: a noise-conditional classifier or CLIP, or a weaker model of the same
        data (autoguidance); '': the network's own unconditional score.
      guide_checkpoint: the step of that run; -1: its newest.

    More fields of the config are taken and not kept: `scheduler`, one of SCHEDULERS in place of `method`, and `start`,
    `count`, `keep_latents`, `height`, `width`, `upsampler` and `upsampler_checkpoint`, which say where samples start,
    how many there are, what of them is kept, how large they are and what enlarges them, and nothing of a sampler.
    """

    method: Annotated[str, limits.OneOf(KNOWN)] = "pc"
    predictor: Annotated[str, limits.OneOf((*PREDICTORS, "none"))] = "reverse_diffusion"
    corrector: Annotated[str, limits.OneOf((*CORRECTORS, "none"))] = "langevin"
    steps: Annotated[int, grids.RANGES["steps"]] = 1000
    scheduler_config: Annotated[str, limits.Text()] = ""
    flow_steps: Annotated[int, grids.RANGES["steps"]] = 50
    evaluations: Annotated[int, limits.whole(1)] = 20
    grid: Annotated[str, limits.Text()] = "auto"
    karras_power: Annotated[float, grids.RANGES["power"]] = 7.0
    grid_shift: Annotated[float, grids.RANGES["shift"]] = 3.0
    grid_noise: Annotated[tuple, grids.RANGES["noise"]] = ()
    t_min: Annotated[float, grids.RANGES["t_min"]] = 1e-3
    denoise: Annotated[str, limits.OneOf(DENOISE)] = "tweedie"
    discretization: Annotated[int, limits.whole(0, note="0 is exact, N the published chain")] = 0
    prior_scale: Annotated[float, limits.positive(note="1 is without; GLIDE's upsampler: 0.997")] = 1.0
    threshold: Annotated[str, OF_THRESHOLD["threshold"]] = "none"
    threshold_quantile: Annotated[float, OF_THRESHOLD["threshold_quantile"]] = 0.995
    rtol: Annotated[float, TOLERANCE] = 1e-5
    atol: Annotated[float, TOLERANCE] = 1e-5
    prompt: Annotated[str, limits.Text()] = ""
    negative_prompt: Annotated[str, limits.Text()] = ""
    told_size: Annotated[tuple, limits.Several(limits.whole(0))] = ()
    label: Annotated[int, limits.whole(-1, note="a class, or -1 for each in turn")] = -1
    guidance: Annotated[float, OF_GUIDANCE["guidance"]] = 1.0
    guidance_convention: Annotated[str, OF_GUIDANCE["guidance_convention"]] = "scale"
    guidance_low: Annotated[float, OF_GUIDANCE["guidance_low"]] = 0.0
    guidance_high: Annotated[float, OF_GUIDANCE["guidance_high"]] = math.inf
    guidance_rescale: Annotated[float, OF_GUIDANCE["guidance_rescale"]] = 0.0
    guide: Annotated[str, limits.Text()] = ""
    guide_checkpoint: Annotated[int, limits.whole(-1, note="a step, or -1 for the newest")] = -1
    scheduler: dataclasses.InitVar[str] = ""
    start: dataclasses.InitVar[str] = ""
    keep_latents: dataclasses.InitVar[bool] = False
    count: dataclasses.InitVar[int] = 100
    height: dataclasses.InitVar[int] = 0
    width: dataclasses.InitVar[int] = 0
    upsampler: dataclasses.InitVar[str] = ""
    upsampler_checkpoint: dataclasses.InitVar[int] = -1

    def __post_init__(
        self,
        scheduler: str,
        start: str,
        keep_latents: bool,
        count: int,
        height: int,
        width: int,
        upsampler: str,
        upsampler_checkpoint: int,
    ) -> None:
        limits.check("sampling.", vars(self) | {"scheduler": scheduler}, {**RANGES, "scheduler": SCHEDULER})
        if scheduler:
            object.__setattr__(self, "method", scheduler)
        if self.grid not in ("auto", *grids.GRIDS) and not spacings.known(self.grid):
            raise ValueError(f"sampling.{grids.unknown(self.grid)}")
        if self.predictor == self.corrector == "none":
            raise ValueError("sampling.predictor and sampling.corrector are both 'none'; one of them must move")
        if len(self.told_size) not in (0, SIX):
            raise ValueError(
                f"sampling.told_size is {self.told_size}; needed are six numbers (height and width of the original, "
                "top and left of the crop, height and width that are asked for), or ()"
            )
        if self.guidance_low >= self.guidance_high:
            raise ValueError(
                f"sampling.guidance_low is {self.guidance_low} and sampling.guidance_high {self.guidance_high}; needed "
                "is guidance_low < guidance_high, of sigma / alpha"
            )
        if not self.without_grid:
            self._check_grid()

    def _check_grid(self) -> None:
        """Refuse grids on which the method would need a score that is not there."""
        if self.grid == "levels" and (self.flow or self.few_step or not self.discretization):
            raise ValueError(
                "sampling.grid 'levels' is that of a discrete chain: give sampling.discretization its number of "
                "levels and use a stochastic method, or grid 'uniform'"
            )
        if self.grid == "levels" and self.steps != self.discretization:
            raise ValueError(
                f"sampling.grid 'levels' visits each of sampling.discretization {self.discretization} levels once, and "
                f"sampling.steps is {self.steps}; make them equal, or take some by a grid like 'respaced'"
            )
        if self.grid == "published" and self.mover in ("flow_heun", "interpolant_heun"):
            raise ValueError(f"sampling.grid 'published' ends at t = 0, where {self.mover} would need the score")
        if self.grid == "published" and self.denoise == "tweedie":
            raise ValueError(
                "sampling.denoise 'tweedie' needs the score at the grid's end, and sampling.grid 'published' ends "
                "at t = 0; use denoise 'mean' or 'none', or grid 'uniform'"
            )

    @property
    def guidance_scale(self) -> float:
        """The scale, whichever convention it is given in; 1 is without guidance."""
        return scale_of(self.guidance, self.guidance_convention)

    @property
    def mover(self) -> str:
        """The method, or the predictor of 'pc'."""
        return self.predictor if self.method == "pc" else self.method

    @property
    def constructors(self) -> list[Callable[..., Stepper]]:
        """Those of the method, or of predictor and corrector of 'pc'; the adaptive ODE and schedulers have none."""
        names = (self.predictor, self.corrector) if self.method == "pc" else (self.method,)
        return [STEPPERS[name] for name in names if name in STEPPERS]

    @property
    def scheduled(self) -> bool:
        """Whether it steps as a scheduler of diffusers does."""
        return self.method in SCHEDULERS

    @property
    def over_categories(self) -> bool:
        """Whether it is a sampler over categories, whose grid is the process's own."""
        return self.method in CATEGORICAL

    @property
    def generates(self) -> bool:
        """Whether it is the one evaluation of a generator, which has neither times nor steps."""
        return self.method == GENERATOR

    @property
    def without_grid(self) -> bool:
        """Whether `grid` says nothing: times are a scheduler's, the process's or those of a tolerance, or none."""
        return self.method == "ode" or self.scheduled or self.over_categories or self.generates

    @property
    def options(self) -> dict[str, Any]:
        """The options that its constructors declare; of a scheduler, those that a pipeline passes on to it."""
        declaring = [SCHEDULERS[self.method].course] if self.scheduled else self.constructors
        return {name: getattr(self, name) for name in limits.declared(*declaring)}

    @property
    def takes_guide(self) -> bool:
        """Whether its steps, and no corrector beside them, have a rule of their own for a guide's gradient."""
        return ["guide" in inspect.signature(constructor).parameters for constructor in self.constructors] == [True]

    @property
    def learned_variance(self) -> bool:
        """Whether it needs a model that predicts a variance."""
        return str(self.options.get("variance", "")).startswith("learned")

    @property
    def flow(self) -> bool:
        """Whether it is a fixed-step flow method."""
        return self.mover.startswith("flow")

    @property
    def few_step(self) -> bool:
        """Whether it is counted in evaluations: one of SOLVERS or MAPS."""
        return self.method in SOLVERS or self.method in MAPS

    @property
    def corrected(self) -> bool:
        """Whether it is 'pc' with a corrector."""
        return self.method == "pc" and self.corrector != "none"

    @property
    def denoised(self) -> bool:
        """Whether a step of its own, Tweedie's, leads from the end of the grid to data."""
        apart = self.few_step or self.scheduled or self.over_categories or self.generates
        return self.denoise == "tweedie" and not apart

    @property
    def thresholding(self) -> str:
        """The rule that keeps the denoised image in range, besides a scheduler's own."""
        return "none" if self.scheduled or self.over_categories or self.generates else self.threshold

    @property
    def on_chain(self) -> bool:
        """Whether it visits the levels of a chain, at which a discretely trained network is asked; else it is in t.

        So it is where a stochastic method takes the chain's steps (`samplers.settled` says whether it does).
        """
        own = self.without_grid or self.flow or self.few_step
        return self.discretization > 0 and not own

    @property
    def remedy(self) -> str:
        """What to change of a sampler whose samples are not finite."""
        if self.method == "ode":
            return "loosen sampling.rtol and sampling.atol, or raise sampling.t_min"
        if self.generates:
            return "take another checkpoint"
        if self.few_step:
            return "raise sampling.evaluations, or take another sampling.grid"
        if self.scheduled:
            return "raise sampling.steps"
        steps = "flow_steps" if self.method.startswith("flow") else "steps"
        return f"raise sampling.{steps}" + (", or lower sampling.snr" if self.corrected else " or sampling.t_min")

    def used(self) -> dict[str, object]:
        """The fields that matter to this method, which is not among them.

        Reports leave the others out, and samples that were drawn with other values of those are used again.
        """
        values = dataclasses.asdict(self)
        del values["method"]
        return {name: value for name, value in values.items() if not _idle(self, name)}


RANGES = {name: option.range for name, option in limits.declared(Settings).items()}
"""What each field may be; a name of `grid` is looked up by `samplers.grids`."""


def _names_levels(s: Settings) -> bool:
    """Whether the grid, the network or the steps depend on the number of levels of `discretization`."""
    if s.without_grid:
        return False
    return spacings.known(s.grid) or s.on_chain or s.mover in ("ancestral", "reverse_diffusion") or s.corrected


def _guided(s: Settings) -> bool:
    return s.guidance_scale != 1.0 or bool(s.guide)


def _steps_of_flow(s: Settings) -> bool:
    return s.method.startswith("flow")


IDLE: dict[str, Callable[[Settings], bool]] = {
    "predictor": lambda s: s.method != "pc",
    "corrector": lambda s: s.method != "pc",
    "prior_scale": lambda s: s.prior_scale == 1.0 or s.over_categories,
    "steps": lambda s: s.method == "ode" or _steps_of_flow(s) or s.few_step or s.generates,
    "flow_steps": lambda s: not _steps_of_flow(s),
    "evaluations": lambda s: not s.few_step,
    "scheduler_config": lambda s: not s.scheduled,
    "grid": lambda s: s.without_grid,
    "karras_power": lambda s: s.without_grid or s.grid != "karras",
    "grid_shift": lambda s: s.without_grid or s.grid != "shifted",
    "grid_noise": lambda s: s.without_grid or s.grid != "given",
    "t_min": lambda s: s.scheduled or s.over_categories or s.generates,
    "denoise": lambda s: s.scheduled or s.over_categories or (s.generates and s.denoise != "none"),
    "discretization": lambda s: not _names_levels(s),
    "threshold": lambda s: s.thresholding == "none",
    "threshold_quantile": lambda s: s.thresholding != "dynamic",
    "rtol": lambda s: s.method != "ode",
    "atol": lambda s: s.method != "ode",
    "prompt": lambda s: not s.prompt,
    "negative_prompt": lambda s: not s.negative_prompt or not _guided(s),
    "told_size": lambda s: not s.told_size,
    "label": lambda s: s.label < 0,
    "guidance": lambda s: not _guided(s),
    "guidance_convention": lambda s: not _guided(s),
    "guidance_low": lambda s: not _guided(s) or s.guidance_low == 0.0 or s.over_categories,
    "guidance_high": lambda s: not _guided(s) or s.guidance_high == math.inf or s.over_categories,
    "guidance_rescale": lambda s: not _guided(s) or s.guidance_rescale == 0.0 or s.over_categories,
    "guide": lambda s: not s.guide,
    "guide_checkpoint": lambda s: not s.guide,
}
"""A field of every method's, and whether it changes nothing in these settings.

A field without a rule counts for every method, so that a new one can only be left out on purpose.
"""
WITHOUT = dict.fromkeys(("s_churn", "s_min", "s_max", "s_noise"), "s_churn")
"""An option that changes nothing where another one is 0, and that one."""


def _idle(settings: Settings, name: str) -> bool:
    """Whether a field changes nothing: an option that the method has not, or what `IDLE` says of the others."""
    if name not in OPTIONS:
        return name in IDLE and IDLE[name](settings)
    options = settings.options
    return name not in options or (name in WITHOUT and options[WITHOUT[name]] == 0.0)
