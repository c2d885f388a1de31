# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The core in ten minutes
#
# A ranking loss sees scores and targets and asks one thing: is what should stand higher, higher? Everything below needs
# torch and `zoo.ranking`, nothing else of the zoo.

# %%
import matplotlib.pyplot as plt
import torch

from zoo.ranking import Cosine, ScoreLoss, hinge, lambda_ndcg, listmle, logistic, triplet_alignment

torch.manual_seed(0)
scores = torch.tensor([[0.2, 1.4, -0.6, 0.9]])  # one list of four items
target = torch.tensor([[3, 1, 2, 0]])  # the higher, the further up it belongs
hinge(scores, target, margin=1.0)

# %% [markdown]
# Six pairs have different targets; the value is the mean of `max(0, margin - (s_i - s_j))` over them. `reduction="none"`
# gives one value per list, `mask` says which items are real, `group` splits a list into lists of their own.

# %%
mask = torch.tensor([[True, True, True, False]])
group = torch.tensor([[0, 0, 1, 1]])
print("without the last item ", hinge(scores, target, mask=mask).item())
print("two groups of two     ", hinge(scores, target, group=group).item())
print("nothing to rank       ", hinge(scores, torch.ones_like(target)).item())

# %% [markdown]
# Gradient descent on the scores themselves shows what a loss wants. Three losses, the same start: the hinge stops once
# every pair has its margin, the logistic loss never quite does, LambdaNDCG cares for the top first.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for axis, loss in zip(axes, (hinge, logistic, lambda_ndcg), strict=True):
    moving, way = scores.clone().requires_grad_(), []
    optimizer = torch.optim.SGD([moving], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        loss(moving, target).backward()
        optimizer.step()
        way.append(moving.detach().clone()[0])
    for index, line in enumerate(torch.stack(way).T):
        axis.plot(line, label=f"target {target[0, index]}")
    axis.set_title(loss.__name__)
axes[0].legend()
axes[0].set_ylabel("score")
plt.show()

# %% [markdown]
# **Similarity losses** take a matrix of queries and gallery, and which of it belongs together; or the embeddings, and
# then the matrix is never held.

# %%
queries, gallery = torch.randn(5, 16), torch.randn(8, 16)
positive = torch.zeros(5, 8, dtype=torch.bool)
positive[torch.arange(5), torch.arange(5)] = True
matrix = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(gallery, dim=1).T
print(triplet_alignment(matrix, positive).item(), triplet_alignment(Cosine(queries, gallery), positive).item())

# %% [markdown]
# **A loss of your own** is a class that any recipe can name (`--model.ranking mine.Doubtful`). Here pairs whose targets
# differ by little count little.


# %%
class Doubtful(ScoreLoss):
    """ListMLE, softened by a hinge."""

    def forward(self, scores, target, *, group=None, mask=None, weight=None):
        """The loss of ``scores (..., N)`` for ``target (..., N)``."""
        given = {"group": group, "mask": mask, "weight": weight}
        return listmle(scores, target, **given) + 0.1 * hinge(scores, target, margin=0.1, **given)


Doubtful()(scores, target)
