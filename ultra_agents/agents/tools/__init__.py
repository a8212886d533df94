"""Tools that models may call before they answer: look at the collected episodes, try things in the simulator.

`consulting.consult` is what the agents call; `toolbox.Toolbox` holds what the tools of a run work with.
"""
